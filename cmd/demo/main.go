// Command demo is the demo cluster binary: `demo run` counts words with actors
// spread over several processes of this machine, `demo node` is one node for a
// terminal of its own, `demo config` checks cluster files, `demo sim` runs thousands
// of nodes in virtual time.
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

	"github.com/maquis-go/maquis/actors/config"
)

func init() {
	// protoactor's process registry has 1,024 maps of so many shards each: a
	// process of the demo needs no more than one.
	cmap.SHARD_COUNT = 1
}

const usage = `usage: demo run  [--nodes N] [--input PATH]... [--kill K] [--json]
       demo node [--config FILE] [--name NAME] [--listen ADDR] [--seed ADDR]... [--discovery KIND[:ARGUMENT]]... [--secret-file FILE]
                  [--watch NODE/ACTOR] [--json]
       demo doctor [--config FILE] [--name NAME] [--listen ADDR] [--seed ADDR]... [--discovery KIND[:ARGUMENT]]... [--secret-file FILE] [--json]
       demo config check FILE [--skip-secrets]
       demo config print [FILE] [--origin] [--json] [--skip-secrets]
       demo config docs
       demo sim  [--overlay NAME] [--tree NAME] [--nodes N] [--seed S] [--cycles C] [--fail F] [--churn K] [--messages M]
                 [--senders one|random] [--detect send|reset|silence] [--json] [--plot FILE.svg] [--compare REPORT.json]
       demo sim  --scenario FILE
       demo scale [--nodes N] [--processes P] [--overlay NAME] [--at-once] [--pairs N] [--mass PART] [--out FILE.md [--commit ID]]
       demo config migrate [--native] FILE

run   starts N processes that form a cluster and counts words with actors spread over them
node  is one node; in two terminals, demo node --name a and demo node --name b find each other
doctor asks the sources that a node like that would, tries each candidate without joining, and says what is wrong and what to do (1: none is ok)
config checks a cluster file (2: what is wrong is listed), prints what it comes to and where each value is from, lists all keys
scale runs N nodes with real connections in P processes, measures them at rest and under messages, and kills one and many
sim   runs thousands of nodes in virtual time: they join, C cycles pass, the part F of them crashes, M messages are broadcast
config migrate prints libcluster's topologies, from config/runtime.exs or where they stand, as ours, and says what it could not keep;
      with --native as join.discovery
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

// inputError is an input, not an argument, that cannot be used.
type inputError struct{ error }

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
	case args[0] == "doctor":
		err = runDoctor(ctx, args[1:], out, errw)
	case args[0] == "config" && len(args) > 1 && args[1] == "migrate":
		err = runMigrate(args[2:], in, out, errw)
	case args[0] == "config":
		err = runConfig(args[1:], out)
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
	var ie inputError
	var ce *config.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &ce): // each line says where
		fmt.Fprintln(errw, ce)
		return exitUsage
	case errors.As(err, &ie):
		fmt.Fprintln(errw, "demo:", ie)
		return exitUsage
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
