//go:build linux

package faultnet

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	full   = flag.Bool("faults.full", false, "cuts and pauses as long as the table of faults has them")
	report = flag.String("faults.report", "", "a Markdown file for the figures")
	commit = flag.String("faults.commit", "", "the commit, for that file")
)

// beds are those that this build has.
var beds = []Bed{Wrapped{}}

func TestMain(m *testing.M) {
	if IsNode() {
		os.Exit(Run(os.Stdin, os.Stdout))
	}
	if status, on := enter(); !on {
		os.Exit(status)
	}
	flag.Parse()
	status := m.Run()
	if err := results.write(*report, *commit); err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

// world is a cluster in a test.
type world struct {
	*Cluster
	t     *testing.T
	procs []*Proc
}

// each runs a scenario on every bed.
func each(t *testing.T, opts Options, test func(t *testing.T, w *world)) { on(t, beds, opts, test) }

// wrapped runs a scenario whose faults only the wrapper can make.
func wrapped(t *testing.T, opts Options, test func(t *testing.T, w *world)) {
	on(t, []Bed{Wrapped{}}, opts, test)
}

func on(t *testing.T, beds []Bed, opts Options, test func(t *testing.T, w *world)) {
	if testing.Short() {
		t.Skip("starts processes and waits for their timeouts")
	}
	for _, bed := range beds {
		t.Run(bed.Name(), func(t *testing.T) {
			opts.Dir = t.TempDir()
			c, err := New(bed, opts)
			require.NoError(t, err)
			w := &world{Cluster: c, t: t}
			t.Cleanup(func() {
				c.Close()
				for _, e := range c.Events(time.Time{}, func(e Event) bool { return e.Event == "violation" || e.Event == "failed" }) {
					t.Errorf("%s: %s %s", e.By, e.Event, e.Detail)
				}
				if t.Failed() {
					for _, e := range c.Events(time.Time{}, func(Event) bool { return true }) {
						t.Logf("%s %s: %s %s %s", e.At.Format("05.000"), e.By, e.Event, e.Node, e.Detail)
					}
				}
			})
			test(t, w)
		})
	}
}

// start starts nodes, the first of which is the seed of all others, and waits
// until they are a cluster.
func (w *world) start(names ...string) {
	w.t.Helper()
	for _, name := range names {
		var seeds []string
		if len(w.procs) > 0 {
			seeds = []string{w.procs[0].Name}
		}
		p, err := w.Start(name, seeds...)
		require.NoError(w.t, err)
		w.procs = append(w.procs, p)
	}
	w.exact(30 * time.Second)
}

// exact waits until the processes, or all, are a cluster, and returns how long
// that took.
func (w *world) exact(within time.Duration, procs ...*Proc) time.Duration {
	w.t.Helper()
	if len(procs) == 0 {
		procs = w.Live()
	}
	took, err := w.UntilExact(within, procs...)
	require.NoError(w.t, err)
	return took
}

// flow has one send numbered messages to another, and waits until some arrive.
func (w *world) flow(from, to *Proc, rate float64, size int) {
	w.t.Helper()
	w.order(from, to, rate, size)
	w.flows([2]*Proc{from, to})
}

// order begins a flow, or ends it with a rate of 0.
func (w *world) order(from, to *Proc, rate float64, size int) {
	w.t.Helper()
	_, err := from.Ask(Order{Do: "flow", Node: to.Name, Rate: rate, Size: size}, 10*time.Second)
	require.NoError(w.t, err)
}

// flows waits until more has arrived of each flow than now.
func (w *world) flows(flows ...[2]*Proc) {
	w.t.Helper()
	before := w.arrived(flows)
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		now, waits := w.arrived(flows), false
		for i := range flows {
			waits = waits || now[i] == before[i]
		}
		if !waits {
			return
		}
		require.True(w.t, time.Now().Before(end), "messages arrived of each flow: %v, and 30s later %v", before, now)
	}
}

// arrived is how many messages of each flow, in its sender's present life, are
// in the books of whom they are for.
func (w *world) arrived(flows [][2]*Proc) []uint64 {
	w.t.Helper()
	books, err := readBooks(w.opts.Dir)
	require.NoError(w.t, err)
	count := make([]uint64, len(flows))
	for i, f := range flows {
		for _, b := range books {
			for _, e := range b.entries {
				if b.node == f[1].Name && e.kind == entryGot && e.peer == f[0].Name && e.life == f[0].Life() {
					count[i] += e.to - e.from
				}
			}
		}
	}
	return count
}

// call calls from one process to the other until it is answered, and returns
// how long that took.
func (w *world) call(from, to *Proc, within time.Duration) time.Duration {
	w.t.Helper()
	began := time.Now()
	for {
		_, err := from.Ask(Order{Do: "call", Node: to.Name, Wait: 200 * time.Millisecond}, 10*time.Second)
		if err == nil {
			return time.Since(began)
		}
		require.Less(w.t, time.Since(began), within, "%v", err)
		time.Sleep(10 * time.Millisecond)
	}
}

// requests calls so often, one after the other, and returns how long half of them
// and 99 of 100 took at most.
func (w *world) requests(from, to *Proc, count int) (p50, p99 time.Duration) {
	w.t.Helper()
	var took []time.Duration
	for range count {
		began := time.Now()
		_, err := from.Ask(Order{Do: "call", Node: to.Name, Wait: 10 * time.Second}, 15*time.Second)
		require.NoError(w.t, err)
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[count/2], took[count*99/100]
}

// disturbed is how often anybody told of a change of anybody's state since.
func (w *world) disturbed(since time.Time) int {
	return w.count(since, "", "suspect", "") + w.count(since, "", "down", "") + w.count(since, "", "up", "")
}

// acked has the channel of flows deliver at least once.
var acked = Options{Flow: FlowChannel{Acked: true}}

// calls calls among all processes.
func (w *world) calls(procs ...*Proc) {
	w.t.Helper()
	for _, a := range procs {
		for _, b := range procs {
			if a != b {
				w.call(a, b, 20*time.Second)
			}
		}
	}
}

// count counts the events of a kind about one node that another has told, since.
func (w *world) count(since time.Time, by, kind, about string) int {
	return len(w.Events(since, func(e Event) bool {
		return (by == "" || e.By == by) && e.Event == kind && (about == "" || e.Node == about)
	}))
}

// settle ends flows and waits until the books agree.
func (w *world) settle(flows ...[2]*Proc) Accounts {
	w.t.Helper()
	for _, f := range flows {
		w.order(f[0], f[1], 0, 0)
	}
	var a Accounts
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		var err error
		a, err = w.Audit()
		require.NoError(w.t, err)
		if len(a.Violations) == 0 || time.Now().After(end) {
			break
		}
	}
	require.Empty(w.t, a.Violations)
	require.NotZero(w.t, a.Delivered)
	w.t.Logf("%+v", a)
	return a
}

// long is a time of the table, or a shorter one in the ordinary suite.
func long(table, short time.Duration) time.Duration {
	if *full {
		return table
	}
	return short
}
