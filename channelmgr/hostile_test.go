package channelmgr_test

import (
	"context"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	_ "google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/channelmgr/frame"
	"github.com/maquis-go/maquis/channelmgr/handshake"
	"github.com/maquis-go/maquis/channelmgr/transport"
	"github.com/maquis-go/maquis/messages"
)

// member is a peer that shook hands and then does as it pleases.
type member struct {
	t    *testing.T
	node *node
	tr   transport.Transport
	ctl  *handshake.Stream
}

func hostile(t *testing.T, n *node) *member { return memberOver(t, n, transport.TCP{}) }

func memberOver(t *testing.T, n *node, tr transport.Transport) *member {
	m := &member{t: t, node: n, tr: tr}
	m.ctl = m.link(handshake.Control, 0)
	require.Eventually(t, func() bool { s := n.reg.Session("evil"); return s != nil && s.Linked() }, 10*time.Second, time.Millisecond)
	return m
}

func (m *member) link(class handshake.Class, index uint8) *handshake.Stream {
	m.t.Helper()
	sec, err := handshake.NewSecurity(handshake.SecurityConfig{Mode: handshake.ModeInsecure, Cluster: "c", Node: "evil"})
	require.NoError(m.t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := m.tr.Dial(ctx, m.node.reg.Self().Addr)
	require.NoError(m.t, err)
	st, _, _, err := handshake.Dial(ctx, conn, sec, handshake.Hello{Class: class, Index: index, Cluster: "c", Name: "evil", Incarnation: 666, Generation: 1, Addrs: []string{"127.0.0.1:1"}, MaxMessage: 1 << 20})
	require.NoError(m.t, err)
	m.t.Cleanup(func() { _ = st.Close() })
	return st
}

// ends waits until the other side has closed a link.
func ends(t *testing.T, st *handshake.Stream) {
	t.Helper()
	_ = st.SetReadDeadline(time.Now().Add(20 * time.Second))
	b := make([]byte, 4096)
	for {
		if _, err := st.Read(b); err != nil {
			var ne net.Error
			if e, ok := err.(net.Error); ok {
				ne = e
			}
			require.False(t, ne != nil && ne.Timeout(), "the link still stands")
			return
		}
	}
}

func data(d frame.Data, body []byte) []byte {
	b := append(frame.AppendData(nil, &d), body...)
	frame.Finish(b, 0)
	return b
}

func piece(seq uint64, body []byte) []byte {
	b := append(frame.AppendPiece(nil, 1, 0, seq), body...)
	frame.Finish(b, 0)
	return b
}

// packed packs frames.
func packed(b []byte) []byte {
	out := append(frame.AppendPacked(nil, frame.PackS2, len(b)), s2.Encode(nil, b)...)
	frame.Finish(out, 0)
	return out
}

// s2Bomb is 28 bytes of s2 that say they are 64 MiB.
func s2Bomb() []byte {
	out := append(frame.AppendPacked(nil, frame.PackS2, 1000), s2.Encode(nil, make([]byte, 64<<20))...)
	frame.Finish(out, 0)
	return out
}

// Each violation of the protocol ends one link, with a counted reason; the node
// and its other sessions carry on.
func TestP30HostileMember(t *testing.T) {
	session := frame.AppendSession(nil, frame.Session{Epoch: 1})
	str := "google.protobuf.StringValue"
	for name, k := range map[string]struct {
		class handshake.Class
		bytes []byte
		want  messages.Reason
	}{
		"unknown kind":            {handshake.Bulk, []byte{0, 0, 0, 2, 99, 0}, messages.ReasonBadFrame},
		"empty frame":             {handshake.Bulk, []byte{0, 0, 0, 0}, messages.ReasonBadFrame},
		"oversize":                {handshake.Bulk, []byte{0x7f, 0xff, 0xff, 0xff}, messages.ReasonOversize},
		"oversize control":        {handshake.Control, []byte{0, 1, 0, 1}, messages.ReasonOversize},
		"data on control":         {handshake.Control, data(frame.Data{Seq: 1, Type: str, Target: "x"}, nil), messages.ReasonBadFrame},
		"overlay on data":         {handshake.Bulk, frame.AppendOverlay(nil, frame.Overlay{Instance: "test"}), messages.ReasonBadFrame},
		"undefined target":        {handshake.Bulk, data(frame.Data{Channel: 1, Seq: 1, Type: str, TargetRef: 7}, nil), messages.ReasonBadFrame},
		"undefined type":          {handshake.Bulk, data(frame.Data{Channel: 1, Seq: 1, TypeRef: 7, Target: "x"}, nil), messages.ReasonBadFrame},
		"undefined sender":        {handshake.Bulk, data(frame.Data{Channel: 1, Seq: 1, Type: str, Target: "x", SenderForm: frame.SenderLocal, SenderRef: 9}, nil), messages.ReasonBadFrame},
		"undefined channel":       {handshake.Bulk, data(frame.Data{Channel: 200, Seq: 1, Type: str, Target: "x"}, nil), messages.ReasonBadFrame},
		"gap":                     {handshake.Bulk, append(data(frame.Data{Channel: 1, Seq: 1, Type: str, Target: "x"}, nil), data(frame.Data{Channel: 1, Seq: 9, Type: str, Target: "x"}, nil)...), messages.ReasonBadFrame},
		"definition out of turn":  {handshake.Bulk, frame.AppendDefine(nil, frame.TableType, 1<<30, "x"), messages.ReasonBadFrame},
		"unknown table":           {handshake.Bulk, frame.AppendDefine(nil, 99, 1, "x"), messages.ReasonBadFrame},
		"taken channel id":        {handshake.Bulk, frame.AppendDefine(nil, frame.TableChannel, 1, "x"), messages.ReasonBadFrame},
		"piece of nothing":        {handshake.Bulk, piece(1, []byte("x")), messages.ReasonBadFrame},
		"split beyond the limit":  {handshake.Bulk, data(frame.Data{Channel: 1, Seq: 1, Type: str, Target: "x", Fragment: true, Total: 1 << 31}, []byte("x")), messages.ReasonOversize},
		"split shorter than said": {handshake.Bulk, append(data(frame.Data{Channel: 1, Seq: 1, Type: str, Target: "x", Fragment: true, Total: 3}, []byte("x")), piece(1, []byte("too long"))...), messages.ReasonBadFrame},
		"packed on control":       {handshake.Control, packed(frame.AppendClose(nil, frame.Close{})), messages.ReasonBadFrame},
		"packed in packed":        {handshake.Bulk, packed(packed(frame.AppendClose(nil, frame.Close{}))), messages.ReasonBadFrame},
		"half a frame packed":     {handshake.Bulk, packed([]byte{0, 0, 0, 9, 1, 0, 0}), messages.ReasonBadFrame},
		"packed bomb":             {handshake.Bulk, s2Bomb(), messages.ReasonBadFrame},
		"half a frame":            {handshake.Bulk, nil, messages.ReasonReset},
	} {
		t.Run(name, func(t *testing.T) {
			tr := func() transport.Transport { return transport.TCP{} }
			a, b := start(t, "a", tr(), handshake.ModeInsecure), start(t, "b", tr(), handshake.ModeInsecure)
			s := b.connect(a)
			m := hostile(t, a)
			st := m.ctl
			if k.class == handshake.Bulk {
				st = m.link(handshake.Bulk, 0)
				_, err := st.Write(session)
				require.NoError(t, err)
			}
			_, err := st.Write(k.bytes)
			require.NoError(t, err)
			if k.bytes == nil {
				_, _ = st.Write([]byte{0, 0, 0, 9, 1})
				require.NoError(t, st.Close())
			} else {
				ends(t, st)
			}
			require.Eventually(t, func() bool { return a.reg.Stats()["link_ended_"+string(k.want)] >= 1 }, 10*time.Second, time.Millisecond, "%v", a.reg.Stats())
			before := a.count()
			require.NoError(t, s.Send(&channelmgr.Outgoing{Target: "x", Msg: wrapperspb.String("still here")}))
			require.Eventually(t, func() bool { return a.count() == before+1 }, 10*time.Second, time.Millisecond)
		})
	}
}

// What cannot be decoded is answered, the link goes on.
func TestP30HostileBodies(t *testing.T) {
	a := start(t, "a", transport.TCP{}, handshake.ModeInsecure)
	m := hostile(t, a)
	st := m.link(handshake.Bulk, 0)
	_, err := st.Write(frame.AppendSession(nil, frame.Session{Epoch: 1}))
	require.NoError(t, err)
	deep := []byte{}
	for range 20000 { // a message nested deeper than any stack should go
		deep = append([]byte{0x0a, 0xff, 0x7f}, deep[:min(len(deep), 16000)]...)
	}
	good, err := proto.Marshal(wrapperspb.String("good"))
	require.NoError(t, err)
	for i, d := range []struct {
		typ  string
		body []byte
	}{
		{"no.such.Type", nil},
		{"google.protobuf.StringValue", []byte{0xff, 0xff, 0xff}},
		{"google.protobuf.Struct", deep},
		{"google.protobuf.StringValue", good},
	} {
		_, err := st.Write(data(frame.Data{Channel: 1, Seq: uint64(i + 1), Type: d.typ, Target: "x"}, d.body))
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return a.count() == 1 }, 10*time.Second, time.Millisecond)
	stats := a.reg.Stats()
	require.EqualValues(t, 1, stats["rejected_unknown_type"])
	require.EqualValues(t, 2, stats["rejected_malformed"])
}

// Sockets that say nothing hold neither memory nor a place for long: a real
// peer joins beside thousands of them.
func TestP30IdleSockets(t *testing.T) {
	a := start(t, "a", transport.TCP{}, handshake.ModeSecret, func(c *channelmgr.Config) {
		c.Timing.HandshakeTimeout = 300 * time.Millisecond
	})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const idle = 2000
	conns := make([]net.Conn, 0, idle)
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	for range idle {
		c, err := net.Dial("tcp", a.reg.Self().Addr)
		require.NoError(t, err)
		conns = append(conns, c)
	}
	b := start(t, "b", transport.TCP{}, handshake.ModeSecret)
	require.Eventually(t, func() bool {
		self := a.reg.Self()
		b.system.Root.Send(managerOf(b), &messages.Connect{Owner: "test", Peer: &messages.NodeRef{Addr: self.Addr}})
		s := b.reg.Session("a")
		return s != nil && s.Linked()
	}, 20*time.Second, 20*time.Millisecond)
	runtime.GC()
	runtime.ReadMemStats(&after)
	require.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(16<<20))
}

// A codec that panics is an error of one message.
func TestPanickingCodec(t *testing.T) {
	a := start(t, "a", transport.TCP{}, handshake.ModeInsecure, func(c *channelmgr.Config) { c.Types = messages.NewRegistry(bomb{}) })
	b := start(t, "b", transport.TCP{}, handshake.ModeInsecure)
	s := a.connect(b)
	err := s.Send(&channelmgr.Outgoing{Target: "x", Msg: boom{}})
	var se *channelmgr.SendError
	require.ErrorAs(t, err, &se)
	require.ErrorContains(t, err, "panicked")
	require.NoError(t, s.Send(&channelmgr.Outgoing{Target: "x", Msg: wrapperspb.String("fine")}))
	require.Eventually(t, func() bool { return b.count() == 1 }, 10*time.Second, time.Millisecond)
	require.ErrorIs(t, s.Send(&channelmgr.Outgoing{Target: "x", Msg: struct{}{}}), messages.ErrNoCodec)
	require.Error(t, s.Send(&channelmgr.Outgoing{Target: "", Msg: wrapperspb.String("nobody")}))
}

type boom struct{}

type bomb struct{}

func (bomb) Name() string                             { return "bomb" }
func (bomb) TypeName(m any) (string, bool)            { _, ok := m.(boom); return "boom", ok }
func (bomb) Append(dst []byte, _ any) ([]byte, error) { panic("boom") }
func (bomb) Decode(name string, _ []byte) (any, error) {
	return nil, messages.ErrUnknownType
}
