package main

import (
	"cmp"
	"context"
	crand "crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	maquis "github.com/maquis-go/maquis/actors"
)

// options of demo run.
type options struct {
	nodes   int
	input   []string
	kill    int
	json    bool
	overlay string
	timeout time.Duration
}

// result is what --json prints.
type result struct {
	Nodes        int     `json:"nodes"`
	Overlay      string  `json:"overlay"`
	InputBytes   int64   `json:"input_bytes"`
	Words        uint64  `json:"words"`
	Distinct     int     `json:"distinct"`
	Chunks       int     `json:"chunks"`
	Redispatched int     `json:"redispatched"`
	Killed       int     `json:"killed"`
	Terminated   int     `json:"terminated"`
	Match        bool    `json:"match"`
	ElapsedS     float64 `json:"elapsed_s"`
}

// list is a flag that may be repeated.
type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

func parseRun(args []string) (options, error) {
	var o options
	fs := flag.NewFlagSet("run", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.IntVar(&o.nodes, "nodes", 5, "")
	fs.Var((*list)(&o.input), "input", "")
	fs.IntVar(&o.kill, "kill", 0, "")
	fs.BoolVar(&o.json, "json", false, "")
	fs.StringVar(&o.overlay, "overlay", "fullmesh", "")
	fs.DurationVar(&o.timeout, "timeout", 5*time.Minute, "")
	if err := fs.Parse(args); err != nil {
		return o, usageError{err}
	}
	o.input = append(o.input, fs.Args()...) // --input a b c
	switch {
	case o.nodes < 1 || o.nodes > 200:
		return o, badUsage("--nodes %d: use 1 to 200", o.nodes)
	case o.kill < 0 || o.kill > o.nodes-1:
		return o, badUsage("--kill %d: with %d nodes at most %d workers can be killed", o.kill, o.nodes, o.nodes-1)
	case !slices.Contains(maquis.OverlayKinds(), o.overlay):
		return o, badUsage("--overlay %q: use one of %s", o.overlay, strings.Join(maquis.OverlayKinds(), ", "))
	case o.overlay == maquis.Static && o.nodes < 2:
		return o, badUsage("--overlay static: it needs at least 2 nodes")
	case o.timeout <= 0:
		return o, badUsage("--timeout %v: it must be positive", o.timeout)
	}
	if len(o.input) == 0 {
		root, err := goroot()
		if err != nil {
			return o, err
		}
		o.input = []string{filepath.Join(root, "src")}
	}
	return o, nil
}

func goroot() (string, error) {
	if root := os.Getenv("GOROOT"); root != "" {
		return root, nil
	}
	b, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil || len(b) == 0 {
		return "", badUsage("the sources of Go's standard library were not found (go env GOROOT: %v); name other text with --input", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// tracker is what the coordinator last told.
type tracker struct {
	mu   sync.Mutex
	last progress
	wake chan struct{} // for the screen
	room chan struct{} // for the reader
}

func (t *tracker) tell(p progress) {
	t.mu.Lock()
	t.last = p
	t.mu.Unlock()
	for _, c := range []chan struct{}{t.wake, t.room} {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

func (t *tracker) now() progress {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}

func runCluster(ctx context.Context, args []string, out, errw io.Writer) error {
	o, err := parseRun(args)
	if err != nil {
		return err
	}
	files, err := listFiles(o.input)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	began := time.Now()
	ui := newScreen(out, errw, o.json)
	defer ui.end()

	var key [32]byte
	if _, err := crand.Read(key[:]); err != nil {
		return err
	}
	secret := hex.EncodeToString(key[:])
	system := newSystem()
	d, err := maquis.Start(ctx, system, maquis.WithProfile("test"), maquis.WithName("coordinator"), maquis.WithSecret(secret),
		maquis.WithKind(counterKind, counterProps()), maquis.WithOverlays(overlayOf(o.overlay, 0, o.nodes)), maquis.WithLogger(quietLogger()))
	if err != nil {
		return err
	}
	var kids children
	defer func() {
		stop, cancel := context.WithTimeout(context.Background(), leaveTime)
		defer cancel()
		kids.end()
		_ = d.Stop(stop)
	}()
	for i := 1; i < o.nodes; i++ {
		if err := kids.start(i, o, secret, d.Self().Addrs[0]); err != nil {
			return err
		}
	}
	if err := waitFor(ctx, d, &kids, o.nodes); err != nil {
		return err
	}
	ui.say("%d processes form a cluster over TLS: %s", o.nodes, strings.Join(d.NodeList(), " "))

	track := &tracker{wake: make(chan struct{}, 1), room: make(chan struct{}, 1)}
	boss := newCoordinator(track.tell)
	pid := system.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return boss }))
	perNode := make(map[string]int)
	for _, m := range d.Members(maquis.HasKind(counterKind)) {
		counter, err := d.Spawn(ctx, m.Name, counterKind)
		if err != nil {
			return err
		}
		perNode[m.Name]++
		system.Root.Send(pid, addCounter{counter, m.Name})
	}
	total, err := expected(files)
	if err != nil {
		return err
	}
	fed := make(chan error, 1)
	go func() { fed <- feed(ctx, system, pid, files, track) }()
	res := result{Nodes: o.nodes, Overlay: o.overlay}
	ended := 0
	for {
		p := track.now()
		p.chunks = max(p.chunks, total)
		if p.finished {
			p.chunks = p.done
		}
		ui.progress(p)
		// Kills are spread over the work; all that were killed are waited for.
		if res.Killed < o.kill && (p.done*(o.kill+1) >= (res.Killed+1)*p.chunks || p.finished) {
			res.Killed++
			name := nodeName(res.Killed)
			ui.say("kill -9 %s (after %d of %d chunks)", name, p.done, p.chunks)
			kids.kill(name)
			ended += perNode[name]
			continue
		}
		if p.finished && res.Killed == o.kill && p.terminated >= ended {
			break
		}
		if err := kids.failed(); err != nil {
			return err
		}
		select {
		case err := <-fed:
			if err != nil {
				return err
			}
		case <-track.wake:
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("not done in time: %d of %d chunks, %d of %d terminated: %w", p.done, p.chunks, p.terminated, ended, ctx.Err())
		}
	}
	if err := system.Root.StopFuture(pid).Wait(); err != nil {
		return err
	}
	p := track.now()
	res.InputBytes = boss.size
	res.Chunks, res.Redispatched, res.Terminated, res.Words, res.Distinct = p.chunks, p.redispatched, p.terminated, boss.words, len(boss.counts)
	ui.say("counting once more in this process alone, by other means")
	want, words, err := countFiles(files)
	if err != nil {
		return err
	}
	res.Match = words == boss.words && maps.Equal(want, boss.counts)
	res.ElapsedS = time.Since(began).Seconds()
	ui.summary(res, boss.counts, p.work)
	if o.json {
		b, err := json.Marshal(res)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, string(b))
	}
	if !res.Match {
		return errors.New("the sum does not match the count of a single process")
	}
	return nil
}

// waitFor waits until all nodes are members and their kinds are known.
func waitFor(ctx context.Context, d *maquis.Distribution, kids *children, n int) error {
	for {
		wait, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		err := d.WaitForMembers(wait, n, maquis.HasKind(counterKind))
		cancel()
		if err == nil {
			return nil
		}
		if err := kids.failed(); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("the cluster did not form: %d of %d nodes: %w", len(d.Members()), n, ctx.Err())
		}
	}
}

// expected estimates how many chunks files will make.
func expected(files []string) (int, error) {
	var size int64
	for _, name := range files {
		info, err := os.Stat(name)
		if err != nil {
			return 0, err
		}
		size += info.Size()
	}
	return max(1, int(size/chunkSize)), nil
}

// maxAhead bounds how many chunks are read before they are counted.
const maxAhead = 256

// feed reads the files and hands their chunks to the coordinator, never too
// far ahead of the counting.
func feed(ctx context.Context, system *actor.ActorSystem, pid *actor.PID, files []string, track *tracker) error {
	id := uint32(0)
	size, err := chunks(files, func(text []byte) error {
		for int(id)-track.now().done >= maxAhead {
			select {
			case <-track.room:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		id++
		system.Root.Send(pid, &Chunk{Id: id, Text: text})
		return ctx.Err()
	})
	if err == nil {
		system.Root.Send(pid, noMore{size})
	}
	return err
}

// top returns the n most frequent words.
func top(counts map[string]uint64, n int) []string {
	words := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	return words[:min(n, len(words))]
}
