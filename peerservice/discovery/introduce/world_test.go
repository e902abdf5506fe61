package introduce

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/maquis-go/maquis/peerservice/discovery"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// world is a network of nodes whose member lists are those of the sets they
// have joined: a join makes one set of two, as a roster does.
type world struct {
	t *testing.T

	mu    sync.Mutex
	nodes map[string]*node // by address
	dials int
}

type node struct {
	w       *world
	name    string
	addr    string
	cluster string
	up      bool
	left    bool
	set     map[string]*node // shared by all of one set
	intro   *Introducer
	source  source1
	stop    func()
	gone    []Gone
}

// source1 is a strategy that says what it is told.
type source1 struct{ say chan discovery.Snapshot }

func (s source1) String() string { return "source" }

func (s source1) Run(ctx context.Context, emit func(discovery.Snapshot)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case got := <-s.say:
			emit(got)
		}
	}
}

func newWorld(t *testing.T) *world { return &world{t: t, nodes: map[string]*node{}} }

func addrOf(name string) string { return name + ":6278" }

func (w *world) start(name string, change func(*Config)) *node {
	n := &node{w: w, name: name, addr: addrOf(name), cluster: "c", up: true, source: source1{make(chan discovery.Snapshot)}}
	n.set = map[string]*node{n.addr: n}
	w.mu.Lock()
	w.nodes[n.addr] = n
	w.mu.Unlock()
	cfg := Config{
		Strategies: []discovery.Strategy{n.source},
		Self:       discovery.Self{Cluster: "c", Name: name, Addrs: []string{n.addr}},
		Members:    n.members,
		Join:       n.join,
		Reason: func(err error) string {
			var r reasonError
			errors.As(err, &r)
			return string(r)
		},
		OnGone: func(_ context.Context, g Gone) { w.mu.Lock(); n.gone = append(n.gone, g); w.mu.Unlock() },
		Logger: quiet,
	}
	if change != nil {
		change(&cfg)
	}
	intro, err := New(cfg)
	require.NoError(w.t, err)
	n.intro = intro
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { intro.Run(ctx); close(ended) }()
	n.stop = sync.OnceFunc(func() { cancel(); <-ended })
	w.t.Cleanup(n.stop)
	return n
}

type reasonError string

func (r reasonError) Error() string { return "no: " + string(r) }

func (n *node) join(ctx context.Context, addr string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	time.Sleep(2 * time.Millisecond)
	w := n.w
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dials++
	to := w.nodes[addr]
	switch {
	case to == nil || !to.up:
		return reasonError("refused")
	case to == n:
		return reasonError("self")
	case to.cluster != n.cluster:
		return reasonError("wrong_cluster")
	case to.left:
		return reasonError("refused")
	}
	all := maps.Clone(n.set)
	maps.Copy(all, to.set)
	for _, m := range all {
		m.set = all
	}
	return nil
}

func (n *node) members() []Member {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	var list []Member
	for _, m := range n.set {
		if m.up {
			list = append(list, Member{Name: m.name, Addrs: []string{m.addr}, Left: m.left})
		}
	}
	return list
}

func (n *node) size() int {
	size := 0
	for _, m := range n.members() {
		if !m.Left {
			size++
		}
	}
	return size
}

func (n *node) hears(names ...string) { n.source.say <- whole(names...) }

func whole(names ...string) discovery.Snapshot {
	var s discovery.Snapshot
	for _, name := range names {
		s.Candidates = append(s.Candidates, discovery.Candidate{Addr: addrOf(name), Name: name})
	}
	return s
}

func (n *node) state(name string) CandidateStatus {
	for _, c := range n.intro.Status().Candidates {
		if c.Addr == addrOf(name) {
			return c
		}
	}
	return CandidateStatus{}
}

// within runs until the condition holds and fails after d.
func within(t *testing.T, d time.Duration, what string, cond func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for synctest.Wait(); !cond(); synctest.Wait() {
		require.Less(t, time.Since(start), d, what)
		time.Sleep(50 * time.Millisecond)
	}
	return time.Since(start)
}

func run(t *testing.T, f func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) { f(t, newWorld(t)) })
}

func names(n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf("n%d", i))
	}
	return list
}

func (n *node) pruned() []Gone {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	return n.gone
}
