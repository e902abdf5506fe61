package discovery

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// The resolver's own state is not to be of a synctest bubble, in which the first
	// lookup may be.
	_, _ = (&net.Resolver{PreferGo: true}).LookupHost(context.Background(), "localhost")
	goleak.VerifyTestMain(m)
}

// listener keeps what a strategy emits.
type listener struct {
	t    *testing.T
	stop context.CancelFunc
	err  chan error

	mu   sync.Mutex
	n    int
	got  Snapshot
	more chan struct{}
}

// listen runs s until the test ends, or stop is called.
func listen(t *testing.T, ctx context.Context, s Strategy) *listener {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	l := &listener{t: t, stop: cancel, err: make(chan error, 1), more: make(chan struct{}, 1)}
	go func() { l.err <- s.Run(ctx, l.hear) }()
	t.Cleanup(func() {
		cancel()
		if err, ok := <-l.err; ok {
			require.NoError(t, err, "Run returns nil when its context ends")
		}
	})
	return l
}

func (l *listener) hear(s Snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n, l.got = l.n+1, s
	select {
	case l.more <- struct{}{}:
	default:
	}
}

// end stops the strategy and waits for it.
func (l *listener) end() {
	l.stop()
	require.NoError(l.t, <-l.err)
	close(l.err)
}

func (l *listener) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n
}

func (l *listener) last() (Snapshot, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.got, l.n > 0
}

// until waits for a last snapshot that has the property.
func (l *listener) until(what string, is func(Snapshot) bool) Snapshot {
	l.t.Helper()
	limit := time.After(20 * time.Second)
	for {
		s, ok := l.last()
		if ok && is(s) {
			return s
		}
		select {
		case <-l.more:
		case <-limit:
			require.FailNow(l.t, "waited in vain", "for %s; the last of %d: %+v", what, l.count(), s)
		}
	}
}

func (l *listener) untilAddrs(want ...string) Snapshot {
	l.t.Helper()
	slices.Sort(want)
	return l.until("the addresses", func(s Snapshot) bool { return slices.Equal(addrs(s), want) })
}

// addrs are those that may be dialed, sorted.
func addrs(s Snapshot) []string {
	var out []string
	for _, c := range s.Candidates {
		if !c.Terminating {
			out = append(out, c.Addr)
		}
	}
	slices.Sort(out)
	return out
}

// bubble runs f in virtual time, with a context that ends with it.
func bubble(t *testing.T, f func(t *testing.T, ctx context.Context)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, t.Context()) })
}

// script is a strategy that emits what it is told to.
type script struct {
	name string
	say  chan Snapshot
	fail chan error
}

func newScript(name string) script {
	return script{name: name, say: make(chan Snapshot), fail: make(chan error)}
}

func (s script) String() string { return s.name }

func (s script) Run(ctx context.Context, emit func(Snapshot)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case got := <-s.say:
			emit(got)
		case err := <-s.fail:
			if err == nil {
				panic("a strategy's fault")
			}
			return err
		}
	}
}

func ok(list ...string) Snapshot {
	var s Snapshot
	for _, a := range list {
		s.Candidates = append(s.Candidates, Candidate{Addr: a})
	}
	return s
}
