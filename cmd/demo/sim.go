package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"github.com/maquis-go/maquis/overlay/sim/scenario"
)

// simOptions are those of demo sim.
type simOptions struct {
	scenario *scenario.Scenario
	json     bool
	plot     string
	compare  string
}

// parseSim reads the flags; without a scenario's file they make the scenario.
func parseSim(args []string) (simOptions, error) {
	var o simOptions
	s := &scenario.Scenario{}
	var file, senders string
	var cycles, churn, messages int
	var fail float64
	var latency, jitter time.Duration
	fs := flag.NewFlagSet("sim", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&file, "scenario", "", "")
	fs.StringVar(&s.Overlay, "overlay", "hyparview", "")
	fs.StringVar(&s.Tree, "tree", "", "")
	fs.IntVar(&s.Nodes, "nodes", 1000, "")
	fs.Uint64Var(&s.Seed, "seed", 1, "")
	fs.IntVar(&cycles, "cycles", 50, "")
	fs.Float64Var(&fail, "fail", 0, "")
	fs.IntVar(&churn, "churn", 0, "")
	fs.IntVar(&messages, "messages", 0, "")
	fs.StringVar(&senders, "senders", "one", "")
	fs.DurationVar(&latency, "latency", 0, "")
	fs.DurationVar(&jitter, "jitter", 0, "")
	fs.Float64Var(&s.Loss, "loss", 0, "")
	fs.StringVar(&s.Detect, "detect", "", "")
	fs.IntVar(&s.Active, "active", 0, "")
	fs.IntVar(&s.Passive, "passive", 0, "")
	fs.BoolVar(&s.Sizes, "sizes", false, "")
	fs.BoolVar(&s.Check, "check", false, "")
	fs.BoolVar(&o.json, "json", false, "")
	fs.StringVar(&o.plot, "plot", "", "")
	fs.StringVar(&o.compare, "compare", "", "")
	if err := fs.Parse(args); err != nil {
		return o, usageError{err}
	}
	if fs.NArg() > 0 {
		return o, badUsage("unexpected argument %q", fs.Arg(0))
	}
	if file == "" {
		if fail < 0 || fail >= 1 {
			return o, badUsage("--fail %v: use a part of the nodes, 0 up to but not 1", fail)
		}
		if senders != "one" && senders != "random" {
			return o, badUsage(`--senders %q: use "one" or "random"`, senders)
		}
		s.Latency, s.Jitter = scenario.Duration(latency), scenario.Duration(jitter)
		s.Steps = scenario.Standard(cycles, fail, messages, churn, senders)
		o.scenario = s
		if err := s.Validate(); err != nil {
			return o, usageError{err}
		}
		return o, nil
	}
	var other []string
	fs.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "scenario", "json", "plot", "compare":
		default:
			other = append(other, "--"+f.Name)
		}
	})
	if len(other) > 0 {
		return o, badUsage("with --scenario the file says everything; leave out %v", other)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return o, badUsage("--scenario: %v", err)
	}
	if o.scenario, err = scenario.Parse(text); err != nil {
		return o, badUsage("--scenario %s: %v", file, err)
	}
	return o, nil
}

// runSim simulates and reports.
func runSim(ctx context.Context, args []string, out, errw io.Writer) error {
	o, err := parseSim(args)
	if err != nil {
		return err
	}
	var before *scenario.Report
	if o.compare != "" {
		if before, err = readReport(o.compare); err != nil {
			return badUsage("--compare: %v", err)
		}
	}
	// The heap is thousands of small machines that live for ever: collecting it
	// often frees little.
	debug.SetGCPercent(300)
	ui := newScreen(out, errw, o.json)
	report, err := scenario.Run(ctx, o.scenario, ui.part)
	ui.end()
	if err != nil {
		return err
	}
	if o.plot != "" {
		if err := os.WriteFile(o.plot, []byte(report.Plot()), 0o644); err != nil {
			return err
		}
	}
	ui.say("%s", report)
	if o.json {
		if err := json.NewEncoder(out).Encode(report); err != nil {
			return err
		}
	}
	if before == nil {
		return nil
	}
	differences := scenario.Compare(before, report, 0.05)
	for _, d := range differences {
		ui.say("%s", d)
	}
	if len(differences) > 0 {
		return errors.New("the reports differ by more than 5 %")
	}
	return nil
}

func readReport(file string) (*scenario.Report, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var r scenario.Report
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("%s holds no report: %w; write one with demo sim --json", file, err)
	}
	return &r, nil
}
