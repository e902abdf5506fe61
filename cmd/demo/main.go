// Command demo is the demo cluster binary: `demo run` counts words with actors
// spread over several processes of this machine, `demo node` is one node for a
// terminal of its own, `demo sim` runs thousands of nodes in virtual time.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/asynkron/protoactor-go/actor"
	cmap "github.com/orcaman/concurrent-map"
)

func init() {
	// protoactor's process registry has 1,024 maps of so many shards each: a
	// process of the demo needs no more than one.
	cmap.SHARD_COUNT = 1
}

const usage = `usage: demo run  [--nodes N] [--input PATH]... [--kill K] [--json]
       demo node [--name NAME] [--listen ADDR] [--seed ADDR]... [--secret-file FILE] [--watch NODE/ACTOR] [--json]
       demo sim  [--overlay NAME] [--tree NAME] [--nodes N] [--seed S] [--cycles C] [--fail F] [--churn K] [--messages M]
                 [--senders one|random] [--detect send|reset|silence] [--json] [--plot FILE.svg] [--compare REPORT.json]
       demo sim  --scenario FILE
       demo scale [--nodes N] [--processes P] [--overlay NAME] [--at-once] [--pairs N] [--mass PART]

run   starts N processes that form a cluster and counts words with actors spread over them
node  is one node; in two terminals, demo node --name a and demo node --name b find each other
scale runs N nodes with real connections in P processes, measures them at rest and under messages, and kills one and many
sim   runs thousands of nodes in virtual time: they join, C cycles pass, the part F of them crashes, M messages are broadcast
`

// Exit statuses.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

// usageError is an argument that cannot be used.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func badUsage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, in io.Reader, out, errw io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case len(args) == 0:
		err = badUsage("a command is missing")
	case args[0] == "run":
		err = runCluster(ctx, args[1:], out, errw)
	case args[0] == "node":
		err = runNode(ctx, args[1:], in, out, errw)
	case args[0] == "sim":
		err = runSim(ctx, args[1:], out, errw)
	case args[0] == "scale":
		err = runScale(ctx, args[1:], out, errw)
	case args[0] == scaleCommand:
		err = runScaleHost(ctx, in, out)
	case args[0] == workerCommand:
		err = runWorker(ctx, in)
	case args[0] == "help" || args[0] == "-h" || args[0] == "--help":
		fmt.Fprint(out, usage)
	default:
		err = badUsage("unknown command %q", args[0])
	}
	var ue usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &ue):
		fmt.Fprintf(errw, "demo: %v\n\n%s", err, usage)
		return exitUsage
	case ctx.Err() != nil:
		fmt.Fprintln(errw, "demo: interrupted")
		return exitInterrupted
	default:
		fmt.Fprintln(errw, "demo:", err)
		return exitFailed
	}
}

// newSystem makes an actor system that logs nothing by itself.
func newSystem() *actor.ActorSystem {
	return actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }))
}
