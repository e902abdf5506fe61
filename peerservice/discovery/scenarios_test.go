package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/peerservice/discovery"
	"github.com/maquis-go/maquis/peerservice/discovery/introduce"
)

// world is a network of nodes that ask a source and are introduced to what it names.
// Who is let in makes one cluster of two, as a roster does.
type world struct {
	t     *testing.T
	stand *discovery.Stand
	rng   *rand.Rand

	mu    sync.Mutex
	nodes map[string]*node // by address
	dials map[string]int   // by address
}

type node struct {
	w       *world
	host    string
	addr    string
	refuses string // why it lets nobody in
	left    bool
	set     map[string]*node // its cluster, shared by all of it
	intro   *introduce.Introducer
	stop    func()
	gone    []introduce.Gone
}

// host is the address of node number i.
func host(i int) string { return fmt.Sprintf("10.0.%d.%d", i>>8, i&255) }

func hosts(n int) (list []string) {
	for i := range n {
		list = append(list, host(i+1))
	}
	return list
}

// add adds a node that takes calls and makes none.
func (w *world) add(i int) *node {
	n := &node{w: w, host: host(i), addr: host(i) + ":6278"}
	n.set = map[string]*node{n.addr: n}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes[n.addr] = n
	return n
}

// start adds a node that looks for others.
func (w *world) start(i int) *node {
	n := w.add(i)
	n.look(i)
	return n
}

func (n *node) look(i int) {
	self := discovery.Self{Cluster: "c", Name: n.host, Addrs: []string{n.addr}, Secrets: []string{"s"}}
	prune := 10 * time.Second
	if n.w.stand.Set == nil { // who is not heard while the air is bad is not gone by that
		prune = 5 * time.Minute
	}
	var err error
	n.intro, err = introduce.New(introduce.Config{
		Strategies: []discovery.Strategy{n.w.stand.Strategy(i, self)}, Self: self, Members: n.members, Join: n.join,
		Reason: func(err error) string {
			var r refusal
			errors.As(err, &r)
			return string(r)
		},
		Prune: introduce.PruneAfter(prune), OnGone: func(_ context.Context, g introduce.Gone) { n.w.do(func() { n.gone = append(n.gone, g) }) },
		Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(n.w.t, err)
	ctx, cancel := context.WithCancel(n.w.t.Context())
	ended := make(chan struct{})
	go func() { n.intro.Run(ctx); close(ended) }()
	n.stop = sync.OnceFunc(func() { cancel(); <-ended })
	n.w.t.Cleanup(n.stop)
}

type refusal string

func (r refusal) Error() string { return "no: " + string(r) }

func (w *world) do(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (n *node) join(ctx context.Context, addr string) error {
	time.Sleep(2 * time.Millisecond)
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	n.w.dials[addr]++
	switch to := n.w.nodes[addr]; {
	case ctx.Err() != nil:
		return ctx.Err()
	case to == nil || to.left:
		return refusal("refused")
	case to.refuses != "":
		return refusal(to.refuses)
	default:
		n.meet(to)
		return nil
	}
}

// meet makes one cluster of two. The lock is held.
func (n *node) meet(to *node) {
	all := maps.Clone(n.set)
	maps.Copy(all, to.set)
	for _, m := range all {
		m.set = all
	}
}

func (n *node) members() (list []introduce.Member) {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	for _, m := range n.set {
		list = append(list, introduce.Member{Name: m.host, Addrs: []string{m.addr}, Left: m.left})
	}
	return list
}

func (n *node) size() (size int) {
	for _, m := range n.members() {
		if !m.Left {
			size++
		}
	}
	return size
}

func (n *node) candidate(host string) introduce.CandidateStatus {
	for _, c := range n.intro.Status().Candidates {
		if strings.HasPrefix(c.Addr, host+":") {
			return c
		}
	}
	return introduce.CandidateStatus{}
}

// within waits for what is to be seen in time.
func (w *world) within(d time.Duration, what string, is func() bool) {
	w.t.Helper()
	for start := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		synctest.Wait()
		if is() {
			return
		}
		if time.Since(start) > d {
			for _, n := range w.nodes {
				if n.intro != nil {
					w.t.Log(n.host, n.intro.Explain())
				}
			}
			w.t.Fatalf("not within %v: %s", d, what)
		}
	}
}

// together starts n nodes, all named, and waits until they are one cluster.
func (w *world) together(n int) (all []*node) {
	if w.stand.Set != nil {
		w.stand.Set(hosts(n)...)
	}
	for i := range n {
		all = append(all, w.start(i+1))
	}
	w.within(time.Minute, "one cluster", func() bool { return all[0].size() == n })
	return all
}

// keeps asserts that nobody was lost: no member and no candidate.
func (w *world) keeps(all []*node) {
	w.t.Helper()
	synctest.Wait()
	for _, n := range all {
		require.Equal(w.t, len(all), n.size())
		n.w.do(func() { require.Empty(w.t, n.gone) })
		if w.stand.Set != nil { // of those that announce themselves, who is not heard is no candidate
			require.Len(w.t, n.intro.Status().Candidates, len(all))
		}
	}
}

// scenarios are what any source may do. Those that need Set are left out for nodes
// that announce themselves: nobody else names anything there.
var scenarios = []struct {
	name    string
	needSet bool
	play    func(w *world)
}{
	{"cold start in any order", false, func(w *world) {
		if w.stand.Set != nil {
			w.stand.Set(hosts(5)...)
		}
		var first *node
		for _, i := range w.rng.Perm(5) {
			if n := w.start(i + 1); first == nil {
				first = n
			}
			time.Sleep(time.Duration(w.rng.Int64N(int64(2 * time.Second))))
		}
		w.within(time.Minute, "one cluster", func() bool { return first.size() == 5 })
	}},
	{"two islands merge", false, func(w *world) {
		// Each half is complete for itself, and the source has not named the other.
		w.stand.Down(!w.stand.NotAtStart)
		var all []*node
		for i := range 4 {
			all = append(all, w.add(i+1))
		}
		w.do(func() { all[0].meet(all[1]); all[2].meet(all[3]) })
		for i, n := range all {
			n.look(i + 1)
		}
		if !w.stand.NotAtStart {
			time.Sleep(30 * time.Minute)
			require.Equal(w.t, 2, all[0].size())
			w.stand.Down(false)
		}
		if w.stand.Set != nil {
			w.stand.Set(hosts(4)...)
		}
		w.within(20*time.Minute, "one cluster", func() bool { return all[0].size() == 4 }) // calm nodes ask every ten
	}},
	{"down for 60 s", false, func(w *world) {
		all := w.together(3)
		w.stand.Down(true)
		time.Sleep(time.Minute)
		w.keeps(all)
		w.stand.Down(false)
		time.Sleep(time.Minute)
		w.keeps(all)
		late := w.start(4)
		if w.stand.Set != nil {
			w.stand.Set(hosts(4)...)
		}
		w.within(time.Minute, "a node more", func() bool { return late.size() == 4 })
	}},
	{"empty answers", true, func(w *world) {
		all := w.together(3)
		w.stand.Set()
		time.Sleep(30 * time.Minute)
		w.keeps(all)
	}},
	{"flapping", false, func(w *world) {
		all := w.together(3)
		for i := range 60 {
			w.stand.Down(i%2 == 0)
			time.Sleep(time.Duration(w.rng.Int64N(int64(3 * time.Second))))
		}
		w.keeps(all)
		if w.stand.Set != nil {
			for i := range 60 {
				w.stand.Set(hosts(3 * (i % 2))...)
				time.Sleep(time.Duration(w.rng.Int64N(int64(3 * time.Second))))
			}
			w.keeps(all)
		}
	}},
	{"a thousand candidates", true, func(w *world) {
		first := w.add(1)
		for i := 2; i <= 1000; i++ {
			n := w.add(i)
			w.do(func() { n.set = first.set; first.set[n.addr] = n })
		}
		w.stand.Set(hosts(1000)...)
		late := w.start(1001)
		w.within(time.Minute, "joined", func() bool { return late.size() == 1001 })
		time.Sleep(time.Hour)
		require.LessOrEqual(w.t, late.intro.Status().Counts.Dialed, uint64(5))
		require.Greater(w.t, len(late.intro.Status().Candidates), 990)
	}},
	{"strangers say why", true, func(w *world) {
		for i, why := range []string{"wrong_secret", "wrong_cluster", "version"} {
			w.add(i + 2).refuses = why
		}
		w.stand.Set(hosts(4)...)
		n := w.start(1)
		for i, why := range []string{"wrong_secret", "wrong_cluster", "version"} {
			w.within(time.Minute, why, func() bool { return n.candidate(host(i+2)).State == introduce.Refused })
			require.Equal(w.t, why, n.candidate(host(i+2)).Reason)
			require.Contains(w.t, n.intro.Explain(), why+": "+introduce.Remedy(why))
		}
		time.Sleep(time.Hour)
		require.Less(w.t, n.intro.Status().Counts.Refused, uint64(36), "each about every ten minutes")
		require.Equal(w.t, 1, n.size())
	}},
	{"drain without re-join", false, func(w *world) {
		all := w.together(3)
		time.Sleep(time.Minute)
		all[2].stop() // as a node does before it leaves
		w.do(func() { all[2].left = true; clear(w.dials) })
		time.Sleep(30 * time.Second)
		w.do(func() { require.Zero(w.t, w.dials[all[2].addr], "its source names it still") })
		time.Sleep(time.Hour)
		w.do(func() {
			require.Less(w.t, w.dials[all[2].addr], 150, "then each minute, as any that does not answer, by both")
		})
		require.Equal(w.t, 2, all[0].size())
	}},
	{"poisoned entries", true, func(w *world) {
		w.add(3).refuses = "wrong_cluster"
		w.add(2)
		w.stand.Set(host(1), host(2), host(2), host(3), "169.254.7.7", "0.0.0.0", "224.0.0.1", host(1))
		n := w.start(1)
		w.within(time.Minute, "joined", func() bool { return n.size() == 2 })
		time.Sleep(time.Hour)
		states := map[introduce.State]int{}
		for _, c := range n.intro.Status().Candidates {
			states[c.State]++
		}
		require.Equal(w.t, map[introduce.State]int{introduce.Own: 1, introduce.IsMember: 1, introduce.Refused: 1, introduce.Skipped: 3}, states)
		w.do(func() {
			for _, never := range []string{host(1), "169.254.7.7", "0.0.0.0", "224.0.0.1"} {
				require.Zero(w.t, w.dials[never+":6278"], never)
			}
			require.Equal(w.t, 1, w.dials[host(2)+":6278"])
			require.Less(w.t, w.dials[host(3)+":6278"], 12)
		})
	}},
}

// Every source in every scenario: the nodes ask it and are introduced, and nobody is
// lost whatever it does. docs/discovery.md shows the table.
func TestScenarios(t *testing.T) {
	for name, make := range discovery.Stands {
		scenariosOf(t, name, make, false)
	}
	for name, make := range discovery.RealStands {
		scenariosOf(t, name, make, true)
	}
}

func scenariosOf(t *testing.T, name string, make func(*testing.T) *discovery.Stand, real bool) {
	for i, s := range scenarios {
		t.Run(name+"/"+s.name, func(t *testing.T) {
			var stand *discovery.Stand
			if real {
				stand = make(t)
			}
			synctest.Test(t, func(t *testing.T) {
				if !real {
					stand = make(t)
				}
				if s.needSet && stand.Set == nil {
					t.Skip("nodes announce themselves: nobody names anybody else")
				}
				s.play(&world{t: t, stand: stand, rng: rand.New(rand.NewPCG(uint64(i), 6)), nodes: map[string]*node{}, dials: map[string]int{}})
			})
		})
	}
}
