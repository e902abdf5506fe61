// Command example is a grain application on protoactor's cluster that runs over
// Maquis. In three terminals:
//
//	go run ./example -name a -listen 127.0.0.1:7001
//	go run ./example -name b -listen 127.0.0.1:7002 -seed 127.0.0.1:7001
//	go run ./example -name c -listen 127.0.0.1:7003 -seed 127.0.0.1:7001
//
// Then type, in any of them, `say bob` or `say alice`: each identity has one
// greeter in the cluster, which counts. `members` lists who may have grains.
// End one process, by whatever means: its greeters are found elsewhere.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/cluster"
	"github.com/asynkron/protoactor-go/cluster/identitylookup/disthash"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/compat/protoactor"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "example:", err)
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("example", flag.ContinueOnError)
	name := flags.String("name", "a", "the node's name")
	listen := flags.String("listen", "127.0.0.1:0", "the address to listen on")
	seed := flags.String("seed", "", "the address of any other node")
	if err := flags.Parse(args); err != nil {
		return err
	}
	quiet := slog.New(slog.DiscardHandler)
	system := actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return quiet }))
	opts := []maquis.Option{
		maquis.WithName(*name), maquis.WithListen(*listen), maquis.WithFailurePreset("local"), maquis.WithLogger(quiet),
		maquis.WithSecret("a secret for loopback, not for you"),
	}
	if *seed != "" {
		opts = append(opts, maquis.WithSeeds(*seed))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	d, err := maquis.Start(ctx, system, opts...)
	if err != nil {
		return err
	}

	// The two lines in which this differs from any grain application: provider
	// and remote configuration are those of Maquis.
	config := cluster.Configure("hello", protoactor.New(d), disthash.New(), protoactor.Remote(d),
		cluster.WithKinds(newGreeterKind(*name)))
	c := cluster.New(system, config)
	c.StartMember()

	fmt.Fprintln(out, "up", d.Self().Addrs[0])
	for lines := bufio.NewScanner(in); lines.Scan(); {
		switch word, who, _ := strings.Cut(lines.Text(), " "); word {
		case "say":
			text, err := sayHello(c, who, who, cluster.WithTimeout(5*time.Second))
			if err != nil {
				text = "failed: " + err.Error()
			}
			fmt.Fprintln(out, text)
		case "members":
			var hosts []string
			for _, m := range c.MemberList.Members().Members() {
				hosts = append(hosts, m.Host)
			}
			fmt.Fprintln(out, len(hosts), strings.Join(hosts, " "))
		default:
			fmt.Fprintln(out, "use: say WHO, or members")
		}
	}
	c.Shutdown(true)
	ctx, cancel = context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return d.Stop(ctx)
}
