package scenario

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/sim"
)

// Cycle is the time between two shuffles of a node, the papers' cycle.
const Cycle = 10 * time.Second

// settle bounds the wait for quiet after a join or a broadcast. With churn and
// repair there can be something going on all the time.
const settle = 30 * time.Second

// Standard are the steps of the papers' experiments: nodes join one by one,
// cycles pass, the overlay is measured, a part of the nodes crashes at once,
// and messages are broadcast: one after the other, or with churn one a cycle,
// so many nodes crashing before each.
func Standard(cycles int, fail float64, messages, churn int, senders string) []Step {
	steps := []Step{{Do: "join"}}
	if cycles != 0 {
		steps = append(steps, Step{Do: "cycles", Cycles: cycles})
	}
	steps = append(steps, Step{Do: "measure"})
	if fail != 0 {
		steps = append(steps, Step{Do: "crash", Fraction: fail})
	}
	if messages != 0 {
		steps = append(steps, Step{Do: "broadcast", Messages: messages, Churn: churn, Senders: senders})
	}
	return steps
}

// run is a scenario in progress.
type run struct {
	s        *Scenario
	w        *sim.World
	kind     *kind
	report   *Report
	progress func(done, total int)
	total    int
	done     int
	senders  *rand.Rand
	contacts *rand.Rand
	sender   int // of "one"
	crashed  []int
}

// Run runs a scenario. Progress, if not nil, is called as the work goes on, with
// the parts done and all of them. It ends early with the context's error.
func Run(ctx context.Context, s *Scenario, progress func(done, total int)) (*Report, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	w, kind, err := s.world()
	if err != nil {
		return nil, err
	}
	if progress == nil {
		progress = func(int, int) {}
	}
	r := &run{s: s, w: w, kind: kind, progress: progress, senders: w.Stream("senders"), contacts: w.Stream("contacts"), sender: -1,
		report: &Report{Name: s.Name, Overlay: s.Overlay, Tree: s.Tree, Nodes: s.Nodes, Seed: s.Seed, Broadcasts: []sim.Broadcast{}}}
	for _, p := range s.Steps {
		r.total += r.parts(p)
	}
	began := time.Now()
	for i, p := range s.Steps {
		if err := r.step(ctx, p); err != nil {
			return nil, fmt.Errorf("scenario: step %d (%s): %w", i+1, p.Do, err)
		}
	}
	r.report.finish(w, time.Since(began))
	return r.report, nil
}

// parts is how much of the progress a step makes up.
func (r *run) parts(p Step) int {
	switch p.Do {
	case "join":
		return r.s.Nodes / 100
	case "cycles":
		return p.Cycles * r.s.Nodes / 1000
	case "broadcast":
		return p.Messages * r.s.Nodes / 200
	}
	return 1
}

func (r *run) advance(by int) {
	r.done += by
	r.progress(r.done, r.total)
}

func (r *run) check(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return r.w.Err()
}

func (r *run) step(ctx context.Context, p Step) error {
	w, end := r.w, r.done+r.parts(p)
	switch p.Do {
	case "join":
		for i := w.Len(); i < r.s.Nodes; i++ {
			r.join(w.Add(), p.At)
			if i%100 == 99 {
				if err := r.check(ctx); err != nil {
					return err
				}
				r.advance(1)
			}
		}
		w.Settle(settle)
	case "cycles":
		for range p.Cycles {
			w.Run(Cycle)
			if err := r.check(ctx); err != nil {
				return err
			}
			r.advance(r.s.Nodes / 1000)
		}
	case "run":
		w.Run(p.For.Std())
	case "crash":
		if len(p.Nodes) > 0 {
			for _, i := range p.Nodes {
				r.crash(i)
			}
		} else {
			r.gone(w.CrashFraction(p.Fraction))
		}
	case "restart":
		again := p.Nodes
		if len(again) == 0 {
			again, r.crashed = r.crashed, nil
		}
		for _, i := range again {
			w.Restart(i)
			r.join(i, true)
		}
	case "leave":
		for _, i := range r.some(p) {
			w.Leave(i, time.Second)
			r.gone([]int{i})
		}
		w.Run(2 * time.Second)
	case "partition":
		w.Partition(r.some(p))
	case "cut":
		w.Cut(p.A, p.B)
	case "heal":
		w.Heal()
	case "suspend":
		for _, i := range p.Nodes {
			w.Suspend(i)
			w.After(p.For.Std(), func() { w.Release(i) })
		}
		w.Run(p.For.Std())
	case "slow":
		for _, i := range r.some(p) {
			w.Slow(i, p.For.Std())
		}
	case "lose":
		w.Lose(p.Fraction)
	case "flap":
		w.Flap(p.A, p.B, p.For.Std(), p.Times)
	case "broadcast":
		if err := r.broadcast(ctx, p); err != nil {
			return err
		}
	case "measure":
		r.report.Graph = w.Graph()
	}
	r.advance(max(end-r.done, 0))
	return r.check(ctx)
}

// some draws the nodes of a step, or takes those that it lists.
func (r *run) some(p Step) []int {
	if len(p.Nodes) > 0 {
		return p.Nodes
	}
	live := r.w.Live()
	r.senders.Shuffle(len(live), func(i, j int) { live[i], live[j] = live[j], live[i] })
	return live[:int(p.Fraction*float64(len(live))+0.5)]
}

// join joins a node: through the first, or by making all members known.
func (r *run) join(i int, atOnce bool) {
	w := r.w
	if r.kind.members {
		for _, j := range w.Live() {
			if j != i {
				w.Feed(i, overlay.MemberUp{Peer: w.Peer(j)})
				w.Feed(j, overlay.MemberUp{Peer: w.Peer(i)})
			}
		}
	} else if j := r.contact(i); j >= 0 {
		w.Join(i, j)
	}
	if !atOnce {
		w.Settle(settle)
	}
}

// contact is through whom a node joins: the first that lives, or any; -1 if
// there is none.
func (r *run) contact(i int) int {
	first, n := 0, r.w.Len()
	if r.kind.anyone {
		first = r.contacts.IntN(n)
	}
	for k := range n {
		if j := (first + k) % n; j != i && r.w.Alive(j) {
			return j
		}
	}
	return -1
}

// crash crashes a node.
func (r *run) crash(i int) {
	r.w.Crash(i)
	r.gone([]int{i})
}

// gone remembers who crashed. Rules over the members are told, as by a roster,
// when its detection has passed.
func (r *run) gone(list []int) {
	r.crashed = append(r.crashed, list...)
	if !r.kind.members {
		return
	}
	w := r.w
	for _, i := range list {
		down := w.Peer(i)
		w.After(5*time.Second, func() {
			for _, j := range w.Live() {
				w.Feed(j, overlay.MemberDown{Peer: down})
			}
		})
	}
}

func (r *run) broadcast(ctx context.Context, p Step) error {
	w := r.w
	payload := make([]byte, p.Size)
	for range p.Messages {
		if p.Churn > 0 {
			live := w.Live()
			for range min(p.Churn, len(live)-1) {
				i := r.senders.IntN(len(live))
				r.crash(live[i])
				live[i] = live[len(live)-1]
				live = live[:len(live)-1]
			}
			w.Run(Cycle)
		}
		live := w.Live()
		if len(live) == 0 {
			return fmt.Errorf("nobody lives who could send")
		}
		if p.Senders == "random" || r.sender < 0 || !w.Alive(r.sender) {
			r.sender = live[r.senders.IntN(len(live))]
		}
		r.report.Broadcasts = append(r.report.Broadcasts, w.Broadcast(r.sender, payload, overlay.Time(settle)))
		if err := r.check(ctx); err != nil {
			return err
		}
		r.advance(r.s.Nodes / 200)
	}
	return nil
}
