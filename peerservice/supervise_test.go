package peerservice

import (
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/messages"
)

// restarts is an actor.Supervisor that records when what was restarted.
type restarts struct {
	mu      sync.Mutex
	at      []time.Duration
	stopped int
	began   time.Time
}

func (r *restarts) Children() []*actor.PID   { return nil }
func (r *restarts) EscalateFailure(_, _ any) {}
func (r *restarts) RestartChildren(...*actor.PID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at = append(r.at, time.Since(r.began))
}

// times returns when children were restarted.
func (r *restarts) times() []time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.at)
}

func (r *restarts) StopChildren(...*actor.PID)   { r.stopped++ }
func (r *restarts) ResumeChildren(...*actor.PID) {}

func supervised() (*supervision, *restarts, *error) {
	var failed error
	c := &counters{}
	count := func(name string) { c.add(name) }
	s := newSupervision(slog.New(slog.DiscardHandler), newQuarantine(count, func(any) {}), count, func(err error) { failed = errors.Join(failed, err) })
	return s, &restarts{began: time.Now()}, &failed
}

func TestRestartsBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r, failed := supervised()
		pid := actor.NewPID("x", "maquis/part")
		var pauses []time.Duration
		for i := range maxFailures {
			began := time.Now()
			s.HandleFailure(nil, r, pid, nil, "boom", i)
			for len(r.times()) == i {
				<-time.After(time.Millisecond)
			}
			pauses = append(pauses, time.Since(began))
		}
		for i, p := range pauses {
			want := min(firstPause<<i, longestPause)
			require.GreaterOrEqual(t, p, want/2)
			require.LessOrEqual(t, p, want*3/2+time.Millisecond)
		}
		require.NoError(t, *failed)
		s.HandleFailure(nil, r, pid, nil, "boom", "one too many")
		require.ErrorContains(t, *failed, "maquis/part failed 11 times within 30s, last on a string: boom")
		require.Equal(t, 1, r.stopped)
	})
}

// A part that fails now and then is never given up.
func TestOldFailuresAreForgiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r, failed := supervised()
		for i := range 10 * maxFailures {
			s.HandleFailure(nil, r, actor.NewPID("x", "maquis/part"), nil, "boom", i)
			<-time.After(failureWindow / 5)
		}
		require.NoError(t, *failed)
		at := r.times()
		require.Len(t, at, 10*maxFailures)
		require.LessOrEqual(t, at[len(at)-1]-at[len(at)-2], failureWindow/5+longestPause)
	})
}

// After the end nothing is restarted any more.
func TestNothingRestartsAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r, _ := supervised()
		s.HandleFailure(nil, r, actor.NewPID("x", "maquis/part"), nil, "boom", 1)
		s.end()
		<-time.After(time.Minute)
		require.Empty(t, r.times())
	})
}

func TestQuarantineKnowsMessagesByContent(t *testing.T) {
	q := newQuarantine(func(string) {}, func(any) {})
	order := func(name string) any { return &messages.DisconnectOrder{Name: name} }
	require.False(t, q.killed("p", order("a")))
	require.False(t, q.refuses("p", order("a")), "once is no proof")
	require.False(t, q.killed("p", order("b")))
	require.True(t, q.killed("p", order("a")))
	require.True(t, q.refuses("p", order("a")))
	require.False(t, q.refuses("p", order("b")))
	require.False(t, q.refuses("other", order("a")), "another part may live on it")
	require.False(t, q.killed("p", order("a")), "told once")
	for range 3 {
		require.False(t, q.killed("p", &messages.Tick{}), "without ticks a part stands still")
		require.False(t, q.killed("p", &actor.Started{}))
	}
	for i := range 2 * maxSuspects {
		q.killed("p", i)
	}
	require.Len(t, q.kills, maxSuspects)
	require.Len(t, q.order, maxSuspects)
}
