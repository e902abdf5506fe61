// Command paper runs the papers' experiments and writes what it saw beside what
// they report: make sim.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/maquis-go/maquis/overlay/sim/scenario"
)

// crashed are the parts of the nodes that crash in the runs of figure 2.
var crashed = []int{10, 20, 30, 40, 50, 60, 70, 80, 90, 95}

func main() {
	nodes := flag.Int("nodes", 10000, "nodes of each run")
	seeds := flag.Int("seeds", 20, "seeds of the overlay's figures")
	few := flag.Int("few", 20, "seeds of the runs with crashes and broadcasts")
	sent := flag.Int("sent", 0, "seeds of the runs in which crashes are found by sending only; as -few if 0")
	rivals := flag.Int("rivals", 2, "seeds of the rivals' runs")
	only := flag.String("only", "", "overlay, crashes, broadcasts or rivals: those runs alone")
	flag.Func("crashed", "per cents that crash, with commas; all of the paper's if not given", func(s string) (err error) {
		crashed = nil
		for _, f := range strings.Split(s, ",") {
			n, e := strconv.Atoi(f)
			crashed, err = append(crashed, n), errors.Join(err, e)
		}
		return err
	})
	out := flag.String("out", "docs/results/simulation.md", "file to write")
	commit := flag.String("commit", "", "what was run, for the page")
	flag.Parse()
	debug.SetGCPercent(200)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	p := &paper{ctx: ctx, nodes: *nodes, sent: cmp.Or(*sent, *few)}
	fmt.Fprintf(&p.text, "# The papers' figures, simulated\n\n`make sim` (`go run ./overlay/sim/paper -nodes %d -seeds %d -few %d -rivals %d`), commit %s, %s. The machines are those that nodes run.\n",
		*nodes, *seeds, *few, *rivals, *commit, runtime.Version())
	err := error(nil)
	for _, part := range []struct {
		name  string
		run   func(seeds int) error
		seeds int
	}{{"overlay", p.hyparview, *seeds}, {"crashes", p.crashes, *few}, {"broadcasts", p.plumtree, *few}, {"rivals", p.rivals, *rivals}} {
		if err == nil && (*only == "" || *only == part.name) {
			err = part.run(part.seeds)
		}
	}
	if err == nil {
		err = os.WriteFile(*out, []byte(p.text.String()), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "paper:", err)
		os.Exit(1)
	}
}

type paper struct {
	ctx   context.Context
	nodes int
	sent  int // seeds of the runs in which crashes are found by sending only
	text  strings.Builder
}

// runs runs a scenario with seeds 1 to n, as many at a time as there are
// processors; one run is one thread.
func (p *paper) runs(what string, n int, s scenario.Scenario) ([]*scenario.Report, error) {
	reports, errs := make([]*scenario.Report, n), make([]error, n)
	var wait sync.WaitGroup
	slots := make(chan struct{}, runtime.NumCPU())
	for i := range n {
		wait.Add(1)
		go func() {
			defer wait.Done()
			slots <- struct{}{}
			defer func() { <-slots }()
			one := s
			one.Nodes, one.Seed = p.nodes, uint64(i+1)
			reports[i], errs[i] = scenario.Run(p.ctx, &one, nil)
		}()
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	fmt.Fprintf(os.Stderr, "%s: %d runs\n", what, n)
	return reports, nil
}

// spread is the mean of a figure over runs, with the least and the greatest.
type spread struct{ mean, least, most float64 }

func over(reports []*scenario.Report, figure func(*scenario.Report) float64) spread {
	s := spread{least: math.Inf(1), most: math.Inf(-1)}
	for _, r := range reports {
		v := figure(r)
		s.mean += v / float64(len(reports))
		s.least, s.most = min(s.least, v), max(s.most, v)
	}
	return s
}

func (p *paper) table(title, head string) {
	columns := strings.Count(head, "|") - 1
	fmt.Fprintf(&p.text, "\n## %s\n\n%s\n|%s\n", title, head, strings.Repeat("---|", columns))
}

func (p *paper) row(cells ...string) { fmt.Fprintf(&p.text, "| %s |\n", strings.Join(cells, " | ")) }

func verdict(ok bool) string {
	if ok {
		return "within"
	}
	return "not within"
}

// hyparview is Table 1 and figure 5 of the HyParView paper.
func (p *paper) hyparview(seeds int) error {
	reports, err := p.runs("overlay", seeds, scenario.Scenario{Overlay: "hyparview", Tree: "flood", Steps: scenario.Standard(50, 0, 20, 0, "random")})
	if err != nil {
		return err
	}
	p.table("HyParView after 50 cycles (R1, R2)", "| figure | paper | ours, mean | least | greatest | band | |")
	figure := func(name, paper, band, format string, f func(*scenario.Report) float64, ok func(spread) bool) {
		s := over(reports, f)
		p.row(name, paper, fmt.Sprintf(format, s.mean), fmt.Sprintf(format, s.least), fmt.Sprintf(format, s.most), band, verdict(ok(s)))
	}
	figure("clustering coefficient", "0.00092", "≤ 0.0012", "%.5f", func(r *scenario.Report) float64 { return r.Clustering }, func(s spread) bool { return s.most <= 0.0012 })
	figure("average shortest path", "6.385", "6.3–6.5", "%.3f", func(r *scenario.Report) float64 { return r.AvgPath }, func(s spread) bool { return s.least >= 6.3 && s.most <= 6.5 })
	figure("hops to the last delivery, flooding", "9.0", "8–10", "%.2f", func(r *scenario.Report) float64 { return r.MeanLastHop }, func(s spread) bool { return s.least >= 8 && s.most <= 10 })
	figure("nodes with 5 neighbors", "9,980", "≥ 9,950", "%.0f", func(r *scenario.Report) float64 { return float64(r.Degree[5]) }, func(s spread) bool { return s.least >= 9950 })
	figure("asymmetric links", "0", "0", "%.0f", func(r *scenario.Report) float64 { return float64(r.Asymmetric) }, func(s spread) bool { return s.most == 0 })
	figure("components", "1", "1", "%.0f", func(r *scenario.Report) float64 { return float64(r.Components) }, func(s spread) bool { return s.most == 1 })
	took := over(reports, func(r *scenario.Report) float64 { return r.WallSeconds })
	memory := over(reports, func(r *scenario.Report) float64 { return float64(r.PeakBytes) / 1e6 })
	fmt.Fprintf(&p.text, "\nA run took %.1f s (%.1f to %.1f), with another beside it; both together held at most %.0f MB.\n", took.mean, took.least, took.most, memory.most)
	return nil
}

// crashes is figure 2 of the HyParView paper: messages after a part of the
// nodes crashed at once, without any cycle for repair.
func (p *paper) crashes(seeds int) error {
	p.table("Reliability after crashes, %, Plumtree over HyParView (R3)", "| crashed | paper, mean | first message | mean of 100 | worst mean | found when sent to: first | mean of 100 | band | |")
	paper := map[int]float64{10: 100, 20: 100, 30: 100, 40: 100, 50: 100, 60: 99.9, 70: 99.9, 80: 99.9, 90: 99.6, 95: 90.9}
	for _, f := range crashed {
		if paper[f] == 0 {
			return fmt.Errorf("-crashed %d: the paper has no such figure; use 10, 20 and so on to 90, or 95", f)
		}
		var by [2][]*scenario.Report
		for i, detect := range []string{"reset", "send"} {
			var err error
			by[i], err = p.runs(fmt.Sprintf("crash of %d %% found by %s", f, detect), []int{seeds, p.sent}[i],
				scenario.Scenario{Overlay: "hyparview", Detect: detect, Steps: scenario.Standard(50, float64(f)/100, 100, 0, "random")})
			if err != nil {
				return err
			}
		}
		first := func(r *scenario.Report) float64 { return 100 * r.Broadcasts[0].Reliability }
		mean := func(r *scenario.Report) float64 { return 100 * r.MeanReached }
		reset := over(by[0], mean)
		band, low := "within 1 point", paper[f]-1
		if f == 95 {
			band, low = "≥ 88", 88
		}
		p.row(fmt.Sprintf("%d %%", f), fmt.Sprint(paper[f]), fmt.Sprintf("%.2f", over(by[0], first).mean), fmt.Sprintf("%.2f", reset.mean), fmt.Sprintf("%.2f", reset.least),
			fmt.Sprintf("%.2f", over(by[1], first).mean), fmt.Sprintf("%.2f", over(by[1], mean).mean), band, verdict(reset.mean >= low))
	}
	p.text.WriteString("\nThe system of a crashed process resets its links, which HyParView relies on: that is the first group of columns. In the second a crash is found by whoever sends\nto the crashed node, and by nobody else: nodes that lost all neighbors and have nothing to say remain alone until their next shuffle.\n")
	if p.sent != seeds {
		fmt.Fprintf(&p.text, "The first group has %d seeds, the second %d.\n", seeds, p.sent)
	}
	return nil
}

// plumtree is Table 1 and figure 2 of the Plumtree paper.
func (p *paper) plumtree(seeds int) error {
	p.table("Plumtree (R8–R10)", "| senders | figure | paper | ours, mean | least | greatest |")
	for _, senders := range []string{"one", "random"} {
		reports, err := p.runs("broadcasts from "+senders, seeds, scenario.Scenario{Overlay: "hyparview", Steps: scenario.Standard(50, 0, 200, 0, senders)})
		if err != nil {
			return err
		}
		last := func(f func(b int, r *scenario.Report) float64) spread {
			return over(reports, func(r *scenario.Report) float64 { return f(len(r.Broadcasts)-1, r) })
		}
		figure := func(name, paper, format string, s spread) {
			p.row(senders, name, paper, fmt.Sprintf(format, s.mean), fmt.Sprintf(format, s.least), fmt.Sprintf(format, s.most))
		}
		papers := map[string][]string{
			"one":    {"9,999", "29,987", "8.3–10", "2.03; 0.9; 0.04; 0", "100"},
			"random": {"9,999", "29,990 (38,976 optimized)", "57–61 (17.2 optimized)", "0 (steady)", "100"},
		}[senders]
		figure("payload messages of the last broadcast", papers[0], "%.0f", last(func(i int, r *scenario.Report) float64 { return float64(r.Broadcasts[i].Payload) }))
		figure("control messages of the last broadcast", papers[1], "%.0f", last(func(i int, r *scenario.Report) float64 { return float64(r.Broadcasts[i].Control) }))
		figure("last delivery hop, mean of 200", papers[2], "%.2f", over(reports, func(r *scenario.Report) float64 { return r.MeanLastHop }))
		for i := range 4 {
			name := fmt.Sprintf("RMR of broadcast %d", i+1)
			figure(name, papers[3], "%.3f", over(reports, func(r *scenario.Report) float64 { return r.Broadcasts[i].RMR }))
		}
		figure("RMR of the last broadcast", "0", "%.3f", last(func(i int, r *scenario.Report) float64 { return r.Broadcasts[i].RMR }))
		figure("reliability, least, %", papers[4], "%.2f", over(reports, func(r *scenario.Report) float64 { return 100 * r.MinReached }))
	}
	p.text.WriteString("\nA sender's first message is flooded and makes its tree, so the first RMR is that of flooding and the second is 0. Random senders use the tree of the first,\nto whose root their messages are brought, which counts as one hop: see docs/protocols/plumtree.md.\n")
	return nil
}

// rivals is figure 2 of the HyParView paper for the memberships that it beats.
// Those that learn nothing from a crash are crashed further in the same run: what
// is left of them after 30 % is the same whether it went in one step or in two.
func (p *paper) rivals(seeds int) error {
	p.table("The rivals after crashes, reliability in % (R6), fanout 4", "| membership | crashed | paper | ours, mean | least | greatest | within 3 points |")
	parts := []int{10, 30, 50, 70}
	for _, rival := range []struct {
		overlay string
		cycles  int // 0: its views are those of the joins
		learns  bool
		paper   []float64
	}{
		{"cyclon", 20, false, []float64{97.4, 92.6, 73.4, 11.8}},
		{"cyclon-acked", 20, true, []float64{98.3, 98.3, 98.1, 96.9}},
		{"scamp-2001", 0, false, []float64{94.7, 88.0, 65.5, 4.3}},
	} {
		runs := [][]int{parts} // the parts that crash in each run
		if rival.learns {
			runs = slices.Collect(slices.Chunk(parts, 1))
		}
		for _, crashes := range runs {
			s := scenario.Scenario{Overlay: rival.overlay, Steps: scenario.Standard(rival.cycles, 0, 0, 0, "random")}
			gone := 0
			for _, f := range crashes {
				s.Steps = append(s.Steps, scenario.Step{Do: "crash", Fraction: float64(f-gone) / float64(100-gone)},
					scenario.Step{Do: "broadcast", Messages: 100, Senders: "random"})
				gone = f
			}
			reports, err := p.runs(fmt.Sprintf("%s, crash of %v %%", rival.overlay, crashes), seeds, s)
			if err != nil {
				return err
			}
			for i, f := range crashes {
				v := over(reports, func(r *scenario.Report) (mean float64) {
					for _, b := range r.Broadcasts[100*i : 100*(i+1)] {
						mean += b.Reliability
					}
					return mean
				})
				aim := rival.paper[slices.Index(parts, f)]
				p.row(rival.overlay, fmt.Sprintf("%d %%", f), fmt.Sprint(aim), fmt.Sprintf("%.1f", v.mean), fmt.Sprintf("%.1f", v.least), fmt.Sprintf("%.1f", v.most), verdict(math.Abs(v.mean-aim) <= 3))
			}
		}
	}
	return nil
}
