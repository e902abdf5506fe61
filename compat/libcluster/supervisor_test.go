package libcluster

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/peerservice/discovery"
	"github.com/maquis-go/maquis/peerservice/discovery/introduce"
)

// source is a strategy that says what it is told to.
type source chan discovery.Snapshot

func (s source) Run(ctx context.Context, emit func(discovery.Snapshot)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case snap := <-s:
			emit(snap)
		}
	}
}

func found(nodes ...discovery.Candidate) discovery.Snapshot {
	return discovery.Snapshot{Candidates: nodes}
}

// A topology joins by what its source finds; a failed source takes nobody away,
// and a whole answer does only where Prune says so.
func TestSupervisor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{self: "me", members: map[string]string{"me": "10.0.0.1:6278"}}
		src := make(source)
		var ev events
		s, err := Start(t.Context(), f, Topology{Name: "t", Strategy: src, Prune: introduce.PruneImmediately})
		require.NoError(t, err)
		detach := s.Attach(ev.add)
		src <- found(discovery.Candidate{Addr: "10.0.0.1:6278"}, discovery.Candidate{Addr: "10.0.0.2:6278", Name: "b"})
		time.Sleep(5 * time.Second)
		require.Equal(t, []string{"join 10.0.0.2:6278"}, f.called(), "not itself")
		require.Contains(t, ev.sorted(), "libcluster.connect_node.ok t b@10.0.0.2:6278")

		f.mu.Lock()
		delete(f.members, "at 10.0.0.2:6278")
		f.members["b"], f.calls = "10.0.0.2:6278", nil
		f.mu.Unlock()
		src <- found(discovery.Candidate{Addr: "10.0.0.2:6278"})
		time.Sleep(time.Hour)
		require.Empty(t, f.called(), "a member is not joined by again")
		src <- discovery.Snapshot{Err: errors.New("down")}
		src <- discovery.Snapshot{Partial: true}
		time.Sleep(time.Hour)
		require.Empty(t, f.called())
		nodes, err := s.NodeList("t")
		require.NoError(t, err)
		require.Equal(t, []string{"b"}, nodes)
		f.silent = true
		src <- found(discovery.Candidate{Addr: "10.0.0.3:6278"})
		time.Sleep(time.Minute)
		require.Contains(t, f.called(), "disconnect b")
		st, err := s.Status("t")
		require.NoError(t, err)
		require.NotEmpty(t, st.Candidates)

		detach()
		n := len(ev.sorted())
		require.ErrorContains(t, s.Add(Topology{Name: "t", Strategy: src}), "runs already")
		require.NoError(t, s.Add(Topology{Name: "second", Strategy: discovery.Static{Addrs: []string{"x"}}, kind: "Cluster.Strategy.Epmd"}))
		require.Equal(t, []TopologyInfo{{"second", "Cluster.Strategy.Epmd", []string{"b"}}, {"t", "libcluster.source", []string{"b"}}}, s.Topologies())
		require.NoError(t, s.Remove("second"))
		require.ErrorContains(t, s.Remove("secnd"), `there is no topology "secnd"; there are ["t"]`)
		_, err = s.Topology("u")
		require.ErrorContains(t, err, `did you mean "t"?`)
		top, err := s.Topology("t")
		require.NoError(t, err)
		f.silent = false
		require.NoError(t, ConnectNodes(t.Context(), top, "z@10.0.0.9"))
		require.Contains(t, f.called(), "join 10.0.0.9:6278")
		require.Len(t, ev.sorted(), n, "nothing after detach")
		s.Stop()
		s.Stop()
		require.ErrorContains(t, s.Add(Topology{Name: "late", Strategy: src}), "has stopped")
	})
}

func TestStartRefuses(t *testing.T) {
	_, err := Start(t.Context(), nil)
	require.ErrorContains(t, err, "the Joiner is nil")
	_, err = Start(t.Context(), &fake{}, Topology{}, Topology{Name: "a"}, Topology{Name: "b", Strategy: discovery.Static{}}, Topology{Name: "b", Strategy: source(nil)})
	for _, part := range []string{"has no name", "topology a: discovery: the strategy is nil", "topology b: discovery: static: Addrs is empty", `two topologies are named "b"`} {
		require.ErrorContains(t, err, part)
	}
}

// A strategy of one's own that panics is run again and takes nothing with it.
func TestPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{self: "me", members: map[string]string{"me": "10.0.0.1:6278"}}
		s, err := Start(t.Context(), f, Topology{Name: "bad", Strategy: panics{}}, Topology{Name: "good", Strategy: discovery.Static{Addrs: []string{"10.0.0.2"}}})
		require.NoError(t, err)
		time.Sleep(10 * time.Second)
		require.Equal(t, []string{"join 10.0.0.2:6278"}, f.called())
		st, err := s.Status("bad")
		require.NoError(t, err)
		require.Contains(t, st.Sources[0].Err, "panic")
		s.Stop()
	})
}

type panics struct{}

func (panics) Run(context.Context, func(discovery.Snapshot)) error { panic("my fault") }
