package messages

import (
	"bytes"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// A control message comes back as it was.
func TestDecodeControl(t *testing.T) {
	want := &WatchSync{Watches: []*WatchEntry{{Watcher: "a", Watchee: "b", Ref: 1}}}
	b, err := proto.Marshal(want)
	require.NoError(t, err)
	got, err := DecodeControl("maquis.v1.WatchSync", b)
	require.NoError(t, err)
	require.True(t, proto.Equal(want, got))
}

// Only our own messages are decoded as control, and only within the limits.
func TestDecodeControlRefuses(t *testing.T) {
	for _, name := range []string{"", "maquis.v1.", "maquis.v1.NoSuch", "google.protobuf.Value", "actor.PID", "maquis.v2.WatchSync"} {
		_, err := DecodeControl(name, nil)
		require.ErrorIs(t, err, ErrUnknownType, name)
	}
	_, err := DecodeControl("maquis.v1.JoinOrder", make([]byte, MaxControl+1))
	require.ErrorContains(t, err, "limit")
	_, err = DecodeControl("maquis.v1.JoinOrder", []byte{0xff})
	require.Error(t, err)
}

// A large message of ordinary content is within the limits.
func TestDecodeControlTakesFullFrames(t *testing.T) {
	m := &RosterPull{}
	for proto.Size(m) < MaxControl-64 {
		m.Names = append(m.Names, strings.Repeat("node", 4))
	}
	b, err := proto.Marshal(m)
	require.NoError(t, err)
	got, err := DecodeControl("maquis.v1.RosterPull", b)
	require.NoError(t, err)
	require.True(t, proto.Equal(m, got))
}

// Attack class "protobuf bomb": empty sub-messages, two bytes each on the
// wire, a hundred in memory. Their number is bounded before they are made.
func TestBomb(t *testing.T) {
	bomb := bytes.Repeat(protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), nil), MaxControl/2)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	_, err := DecodeControl("maquis.v1.WatchSync", bomb)
	runtime.ReadMemStats(&after)
	require.ErrorContains(t, err, "memory")
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20))
}
