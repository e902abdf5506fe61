//go:build linux

// Command soak runs a cluster of processes for a long time under mixed traffic
// and random faults, and checks that every message is accounted for and that
// nothing grows. It exits with status 1 when a promise was broken.
//
//	go run ./internal/faultnet/soak --for 20m --json out.json --report out.md
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/maquis-go/maquis/internal/faultnet"
)

func main() {
	if faultnet.IsNode() {
		debug.SetGCPercent(50) // what grows shows sooner
		os.Exit(faultnet.Run(os.Stdin, os.Stdout))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	var jsonFile, reportFile, commit string
	flag.DurationVar(&o.length, "for", 20*time.Minute, "how long faults are made")
	flag.IntVar(&o.processes, "processes", 8, "how many nodes, each a process; the first three are not killed")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "of the faults")
	flag.StringVar(&o.overlay, "overlay", "hyparview", "the overlay")
	flag.StringVar(&jsonFile, "json", "", "a file for the report as JSON")
	flag.StringVar(&reportFile, "report", "", "a file for the report as Markdown")
	flag.StringVar(&commit, "commit", "", "the commit, for the report")
	flag.Parse()
	if err := o.validate(); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(2)
	}
	r, err := run(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
	r.Commit = commit
	if err := r.save(jsonFile, reportFile); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
	b, _ := json.MarshalIndent(r, "", "  ")
	fmt.Println(string(b))
	if len(r.Violations) > 0 {
		fmt.Fprintf(os.Stderr, "soak: %d promises were broken\n", len(r.Violations))
		os.Exit(1)
	}
}
