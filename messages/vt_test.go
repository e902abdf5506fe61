package messages

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"
)

// nested encodes a google.protobuf.Value of lists within lists: n of them.
func nested(n int) []byte {
	var b []byte
	for range n {
		list := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), b)
		b = protowire.AppendBytes(protowire.AppendTag(nil, 6, protowire.BytesType), list)
	}
	return b
}

// fast is a google.protobuf.Value with the fast methods, as a generator would
// make it. It can contain itself.
type fast struct {
	*structpb.Value
	size  int // SizeVT lies by this much
	input []byte
}

type fastType struct{ protoreflect.MessageType }

type fastReflect struct {
	protoreflect.Message
	m *fast
}

func (fastType) New() protoreflect.Message {
	m := &fast{Value: new(structpb.Value)}
	return fastReflect{m.Value.ProtoReflect(), m}
}

func (fastType) Zero() protoreflect.Message { return fastType{}.New() }

func (r fastReflect) Interface() protoreflect.ProtoMessage { return r.m }

func (r fastReflect) Type() protoreflect.MessageType { return fastType{r.Message.Type()} }

func (m *fast) ProtoReflect() protoreflect.Message { return fastReflect{m.Value.ProtoReflect(), m} }

func (m *fast) SizeVT() int { return proto.Size(m.Value) + m.size }

func (m *fast) MarshalToSizedBufferVT(b []byte) (int, error) {
	enc, err := proto.Marshal(m.Value)
	if len(enc) > len(b) {
		return 0, errors.New("too small")
	}
	return copy(b[len(b)-len(enc):], enc), err
}

func (m *fast) UnmarshalVT(b []byte) error { return proto.Unmarshal(b, m.Value) }

// A type with the fast methods is encoded and decoded by them, in the same
// bytes as by protobuf.
func TestFastMethods(t *testing.T) {
	r := NewRegistry()
	msg := &fast{Value: structpb.NewStringValue("soup")}
	typ, err := r.Of(msg)
	require.NoError(t, err)
	require.True(t, typ.vt)
	require.Equal(t, "google.protobuf.Value", typ.Name)
	b, err := typ.Append([]byte("head"), msg)
	require.NoError(t, err)
	require.Len(t, b, 4+typ.Size(msg))
	want, err := proto.Marshal(msg.Value)
	require.NoError(t, err)
	require.Equal(t, want, b[4:])
	got, err := typ.Decode(b[4:])
	require.NoError(t, err)
	require.Equal(t, "soup", got.(*fast).GetStringValue())
}

// A message that changes while it is encoded is an error, and leaves no trace.
func TestFastMethodsDisagree(t *testing.T) {
	r := NewRegistry()
	for _, lie := range []int{1, -1} {
		msg := &fast{Value: structpb.NewStringValue("soup"), size: lie}
		typ, err := r.Of(msg)
		require.NoError(t, err)
		b, err := typ.Append([]byte("head"), msg)
		require.Error(t, err)
		require.Equal(t, "head", string(b))
	}
}

// Generated fast decoders recurse without bound, and Go cannot recover from a
// stack that is used up: depth is measured before.
func TestFastMethodsDepth(t *testing.T) {
	typ, err := NewRegistry().Of(&fast{Value: new(structpb.Value)})
	require.NoError(t, err)
	require.True(t, typ.deep)
	_, err = typ.Decode(nested(maxDepth / 2))
	require.NoError(t, err)
	_, err = typ.Decode(nested(maxDepth/2 + 1))
	require.ErrorContains(t, err, "nested")
	_, err = typ.Decode(append(nested(3), 0xff))
	require.Error(t, err, "the decoder finds what is malformed")

	require.False(t, nests((&NodeRef{}).ProtoReflect().Descriptor()))
	require.False(t, nests((&WatchSync{}).ProtoReflect().Descriptor()))
	require.True(t, nests((&structpb.Struct{}).ProtoReflect().Descriptor()))
}
