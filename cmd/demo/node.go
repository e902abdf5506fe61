package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
)

// envNodeSecret is where demo node looks for a secret.
const envNodeSecret = "MAQUIS_SECRET"

// lines writes whole lines from several goroutines.
type lines struct {
	mu   sync.Mutex
	w    io.Writer
	json bool
}

// event is a line of demo node --json.
type event struct {
	Event  string `json:"event"`
	Node   string `json:"node,omitempty"`
	Detail string `json:"detail,omitempty"`
}

func (l *lines) write(e event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.json {
		b, _ := json.Marshal(e)
		fmt.Fprintln(l.w, string(b))
		return
	}
	fmt.Fprintln(l.w, strings.Join(slices.DeleteFunc([]string{e.Event, e.Node, e.Detail}, func(s string) bool { return s == "" }), " "))
}

func runNode(ctx context.Context, args []string, in io.Reader, out, errw io.Writer) error {
	var f nodeFlags
	var watch string
	l := &lines{w: out}
	fs := flag.NewFlagSet("node", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	f.add(fs)
	fs.StringVar(&watch, "watch", "", "")
	fs.BoolVar(&l.json, "json", false, "")
	if err := fs.Parse(args); err != nil {
		return usageError{err}
	}
	if fs.NArg() > 0 {
		return badUsage("unexpected argument %q", fs.Arg(0))
	}
	opts, err := f.options()
	if err != nil {
		return err
	}
	system := newSystem()
	d, err := maquis.Start(ctx, system, opts...)
	if err != nil {
		if ctx.Err() == nil {
			return usageError{err}
		}
		return err
	}
	defer func() {
		stop, cancel := context.WithTimeout(context.Background(), leaveTime)
		defer cancel()
		_ = d.Stop(stop)
	}()
	self := d.Self()
	l.write(event{"listening", self.Name, "on " + self.Addrs[0]})
	if err := greeter(system, l); err != nil {
		return err
	}
	if watch != "" {
		node, id, ok := strings.Cut(watch, "/")
		if !ok || node == "" || id == "" {
			return badUsage("--watch %q: use NODE/ACTOR, as in b/greeter", watch)
		}
		watcher(system, d, l, node, id)
	}
	if len(f.seeds) > 0 { // a name that is taken ends the node, at once
		if err := d.Join(ctx, f.seeds...); errors.Is(err, maquis.ErrNameTaken) {
			return fmt.Errorf("%w (%w); choose another with --name", maquis.ErrNameTaken, err)
		}
	}
	quit := make(chan struct{})
	go commands(system, d, l, in, quit)
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	events := d.Events(ctx)
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return d.Err()
			}
			if err := show(l, e); err != nil {
				return err
			}
		case <-hangups:
			reload(ctx, d, l)
		case <-quit:
			return nil
		case <-d.Done():
			return d.Err()
		case <-ctx.Done():
			return nil
		}
	}
}

func greeter(system *actor.ActorSystem, l *lines) error {
	_, err := system.Root.SpawnNamed(actor.PropsFromFunc(func(c actor.Context) {
		if m, ok := c.Message().(*wrapperspb.StringValue); ok {
			l.write(event{"message", "", m.Value})
			if c.Sender() != nil {
				c.Respond(wrapperspb.String("hello, " + m.Value))
			}
		}
	}), "greeter")
	return err
}

// watcher watches an actor of a node, anew whenever the node is up.
func watcher(system *actor.ActorSystem, d *maquis.Distribution, l *lines, node, id string) {
	pid := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		switch m := c.Message().(type) {
		case *maquis.Snapshot:
			for _, k := range m.Members {
				if k.Name == node {
					c.Watch(d.PID(node, id))
				}
			}
		case *maquis.NodeUp:
			if m.Member.Name == node {
				c.Watch(d.PID(node, id))
			}
		case *actor.Terminated:
			l.write(event{"terminated", node, id + " " + m.Why.String()})
		}
	}))
	d.SubscribeMembership(pid)
}

// show prints an event. A name that is taken is an error: the node could never
// join.
func show(l *lines, e maquis.Event) error {
	switch e := e.(type) {
	case *maquis.Snapshot:
		for _, m := range e.Members {
			l.write(event{"member", m.Name, string(m.Status)})
		}
	case *maquis.NodeUp:
		l.write(event{"up", e.Member.Name, fmt.Sprintf("generation %d", e.Member.Generation)})
	case *maquis.NodeSuspect:
		l.write(event{"suspect", e.Member.Name, "by " + strings.Join(e.By, " ")})
	case *maquis.NodeDown:
		l.write(event{"down", e.Member.Name, string(e.Reason)})
	case *maquis.NodeLeft:
		l.write(event{"left", e.Member.Name, ""})
	case *maquis.PeerRefused:
		if errName := (e.Reason == "name_taken"); errName {
			return fmt.Errorf("%w; choose another with --name", maquis.ErrNameTaken)
		}
	}
	return nil
}

// commands reads orders from standard input: members, send NODE TEXT, reload, quit. At
// its end the node goes on.
func commands(system *actor.ActorSystem, d *maquis.Distribution, l *lines, in io.Reader, quit chan struct{}) {
	s := bufio.NewScanner(in)
	for s.Scan() {
		word, rest, _ := strings.Cut(strings.TrimSpace(s.Text()), " ")
		switch word {
		case "":
		case "members":
			for _, m := range d.Members() {
				l.write(event{"member", m.Name, string(m.Status)})
			}
		case "send":
			node, text, _ := strings.Cut(rest, " ")
			res, err := maquis.Call[*wrapperspb.StringValue](context.Background(), d, d.PID(node, "greeter"), wrapperspb.String(text))
			if err != nil {
				l.write(event{"failed", node, err.Error()})
			} else {
				l.write(event{"answer", node, res.Value})
			}
		case "reload":
			reload(context.Background(), d, l)
		case "quit":
			close(quit)
			return
		default:
			l.write(event{"unknown", "", word + "; use members, send NODE TEXT, reload, quit"})
		}
	}
}
