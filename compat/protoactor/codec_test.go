package protoactor

import (
	"testing"

	"github.com/asynkron/protoactor-go/cluster"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/maquis-go/maquis/messages"
)

func TestCodec(t *testing.T) {
	c := Codec()
	in := &cluster.DeliverBatchRequest{Topic: "t", Subscribers: &cluster.Subscribers{}, PubSubBatch: &cluster.PubSubBatch{Envelopes: []proto.Message{wrapperspb.String("x")}}}
	name, ok := c.TypeName(in)
	require.True(t, ok)
	require.Equal(t, "protoactor:cluster.DeliverBatchRequestTransport", name)
	b, err := c.Append([]byte("before"), in)
	require.NoError(t, err)
	require.Equal(t, "before", string(b[:6]))
	out, err := c.Decode(name, b[6:])
	require.NoError(t, err)
	require.Equal(t, "x", out.(*cluster.DeliverBatchRequest).PubSubBatch.Envelopes[0].(*wrapperspb.StringValue).Value)

	_, ok = c.TypeName(wrapperspb.String("x"))
	require.False(t, ok)
	_, ok = c.TypeName(&cluster.DeliverBatchRequest{})
	require.False(t, ok, "its Serialize panics")
	for _, name := range []string{"cluster.PubSubBatchTransport", "protoactor:nobody", "protoactor:google.protobuf.StringValue"} {
		_, err := c.Decode(name, nil)
		require.ErrorIs(t, err, messages.ErrUnknownType, name)
	}
	hostile, err := proto.Marshal(&cluster.PubSubBatchTransport{Envelopes: []*cluster.PubSubEnvelope{{TypeId: 7}}})
	require.NoError(t, err)
	_, err = c.Decode("protoactor:cluster.PubSubBatchTransport", hostile)
	require.ErrorContains(t, err, "index out of range")
}

func FuzzDecode(f *testing.F) {
	good, _ := Codec().Append(nil, &cluster.PubSubBatch{Envelopes: []proto.Message{wrapperspb.String("x")}})
	f.Add(good)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, name := range []string{"PubSubBatchTransport", "DeliverBatchRequestTransport", "PubSubAutoRespondBatchTransport"} {
			_, _ = Codec().Decode("protoactor:cluster."+name, b)
		}
	})
}
