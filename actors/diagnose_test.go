package actors_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/peerservice/discovery"
)

// A node that is looked at tells what it would do and does nothing: whoever asks
// becomes no member, no link stays, and nobody hears of it.
func TestDiagnose(t *testing.T) {
	a := startNode(t, "a")
	b := startNode(t, "b", maquis.WithSeeds(a.addr()))
	for _, n := range []*maquis.Distribution{a.Distribution, b.Distribution} {
		require.NoError(t, n.WaitForMembers(ctxFor(t, 20*time.Second), 2))
	}
	events := a.Events(ctxFor(t, time.Minute))
	require.IsType(t, &maquis.Snapshot{}, <-events)
	look := func(opts ...maquis.Option) map[string]string {
		t.Helper()
		r, err := maquis.Diagnose(t.Context(), nil, append([]maquis.Option{maquis.WithProfile("test"), maquis.WithSecret(secret)}, opts...)...)
		require.NoError(t, err)
		out := make(map[string]string)
		for _, c := range r.Candidates {
			out[c.Addr] = c.Verdict + " " + c.Detail
		}
		return out
	}
	both := maquis.WithDiscovery(discovery.Static{Addrs: []string{a.addr(), b.addr()}})
	require.Equal(t, map[string]string{a.addr(): "ok ", b.addr(): "ok "}, look(maquis.WithName("c"), both))
	require.Equal(t, map[string]string{a.addr(): "ok ", b.addr(): "this node it runs"}, look(maquis.WithName("b"), maquis.WithListen(b.addr()), both), "beside the node that it is")
	got := look(maquis.WithName("b"), both)
	require.Contains(t, got[a.addr()], "name taken")
	require.Contains(t, got[b.addr()], "name taken")
	require.Contains(t, look(maquis.WithName("c"), maquis.WithCluster("other"), maquis.WithSeeds(a.addr()))[a.addr()], "other cluster")
	require.Contains(t, look(maquis.WithName("c"), maquis.WithSecret("another secret of these tests"), maquis.WithSeeds(a.addr()))[a.addr()], "wrong secret")

	require.Equal(t, []string{"a", "b"}, a.NodeList())
	require.EqualValues(t, 4, a.Stats()["handshake_look"], "three that were answered, and the one of another cluster")
	require.NoError(t, b.Leave(ctxFor(t, 20*time.Second)))
	for e := range events {
		switch e := e.(type) {
		case *maquis.NodeUp, *maquis.NodeDown, *maquis.MemberUpdated, *maquis.PeerRefused:
			t.Fatalf("%T %+v", e, e)
		case *maquis.NodeLeft:
			require.Equal(t, "b", e.Member.Name)
			return
		}
	}
	t.Fatal("the events ended")
}

// What cannot be used is said before anything is tried.
func TestDiagnoseOptions(t *testing.T) {
	_, err := maquis.Diagnose(t.Context(), nil, maquis.WithProfile("test"), maquis.WithSecret("short"))
	require.ErrorContains(t, err, "openssl rand")
	_, err = maquis.Diagnose(t.Context(), nil, maquis.WithProfile("prod"))
	require.Error(t, err)
}
