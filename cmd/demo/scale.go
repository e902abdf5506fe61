package main

import (
	"bufio"
	"context"
	crand "crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	maquis "github.com/maquis-go/maquis/actors"
)

// demo scale runs many nodes with sockets of their own in some processes of this
// machine, and measures what they need and how fast they are.

// scaleReport is what demo scale prints; times in seconds.
type scaleReport struct {
	Nodes, Processes int
	Overlay          string
	AtOnce           bool
	FormedS          float64 // from the first start until all know all
	Links            figures // of a node at rest
	Neighbors        figures
	CPU              float64 // cores, all processes, at rest
	BytesPerNodeS    float64 // sent at rest
	HeapPerNode      float64 // beyond an empty actor system, in bytes
	PairsAsked       int     // requests between random nodes
	Pairs            int     // of them, answered
	PairMS           figures // the round trip
	RelaysPerMessage float64
	BroadcastReached int
	BroadcastMS      figures
	KilledKnownS     float64 // a process of one node is killed: until all know
	MassKilled       int     // at once
	MassExactS       float64 // until the survivors' rosters are exact
	MassReached      int     // by the next broadcast
	MassBroadcastMS  figures
}

// figures are the mean and some quantiles.
type figures struct{ Mean, P50, P99, Max float64 }

func figuresOf(list []float64) figures {
	if len(list) == 0 {
		return figures{}
	}
	slices.Sort(list)
	sum := 0.0
	for _, v := range list {
		sum += v
	}
	at := func(q float64) float64 { return list[min(int(q*float64(len(list))), len(list)-1)] }
	return figures{sum / float64(len(list)), at(0.5), at(0.99), list[len(list)-1]}
}

// scaleOrder is a line to a host process; scaleAnswer the line that answers it.
type scaleOrder struct {
	Do     string
	Names  []string // start
	Seeds  []string // start
	Count  int      // count, exactly, pairs
	Preset string   // start
	All    []string // pairs: every node; exactly: those that live
	Node   string   // gone, broadcast
}

type scaleAnswer struct {
	Err       string
	Addrs     []string
	Links     []float64
	Neighbors []float64
	Bytes     uint64
	Relayed   uint64
	CPU       float64
	Heap      float64
	Done      int
	MS        []float64
}

// scaleHost is a process that holds nodes.
type scaleHost struct {
	names []string
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *json.Decoder
	mu    sync.Mutex
}

func (h *scaleHost) ask(o scaleOrder) (scaleAnswer, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	b, err := json.Marshal(o)
	if err != nil {
		return scaleAnswer{}, err
	}
	if _, err := h.in.Write(append(b, '\n')); err != nil {
		return scaleAnswer{}, err
	}
	var a scaleAnswer
	if err := h.out.Decode(&a); err != nil {
		return a, fmt.Errorf("the process of %s: %w", h.names[0], err)
	}
	if a.Err != "" {
		return a, fmt.Errorf("the process of %s: %s", h.names[0], a.Err)
	}
	return a, nil
}

// startScaleHost starts one of several processes, which share the processors: more
// than a few times its part of them would only wake threads.
func startScaleHost(ctx context.Context, secret, overlay string, processes int, names []string, errw io.Writer) (*scaleHost, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	h := &scaleHost{names: names, cmd: exec.CommandContext(ctx, self, scaleCommand)}
	part := (4*runtime.NumCPU() + processes - 1) / processes // of many one or two work at a time
	h.cmd.Env = append(os.Environ(), envSecret+"="+secret, envPlace+"="+overlay, fmt.Sprintf("GOMAXPROCS=%d", part))
	if free := freeMemory(); free > 0 { // garbage is not what is to end a run
		h.cmd.Env = append(h.cmd.Env, fmt.Sprintf("GOMEMLIMIT=%d", free/2/int64(processes)))
	}
	h.cmd.Stderr = errw
	detach(h.cmd)
	if h.in, err = h.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	h.out = json.NewDecoder(bufio.NewReader(out))
	return h, h.cmd.Start()
}

// freeMemory returns how much memory may be taken, in bytes; 0 if that is not known.
func freeMemory() int64 {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	_, line, _ := strings.Cut(string(b), "\nMemAvailable:")
	var kib int64
	_, _ = fmt.Sscan(line, &kib)
	return kib << 10
}

// scale is a run.
type scale struct {
	hosts []*scaleHost
	names []string
	say   func(format string, args ...any)
	rep   scaleReport
}

// each asks all hosts at the same time.
func (s *scale) each(o func(h *scaleHost) scaleOrder) ([]scaleAnswer, error) {
	answers, errs := make([]scaleAnswer, len(s.hosts)), make([]error, len(s.hosts))
	var wg sync.WaitGroup
	for i, h := range s.hosts {
		wg.Add(1)
		go func() {
			defer wg.Done()
			answers[i], errs[i] = h.ask(o(h))
		}()
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return answers, nil
}

func (s *scale) all(o scaleOrder) ([]scaleAnswer, error) {
	return s.each(func(*scaleHost) scaleOrder { return o })
}

func runScale(ctx context.Context, args []string, out, errw io.Writer) error {
	fs := flag.NewFlagSet("scale", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	nodes := fs.Int("nodes", 1024, "")
	processes := fs.Int("processes", 32, "")
	overlay := fs.String("overlay", maquis.HyParView, "")
	atOnce := fs.Bool("at-once", false, "")
	preset := fs.String("preset", "wan", "")
	rest := fs.Duration("rest", 20*time.Second, "")
	pairs := fs.Int("pairs", 10000, "")
	mass := fs.Float64("mass", 0.3, "")
	file, commit := fs.String("out", "", ""), fs.String("commit", "unknown", "")
	if err := fs.Parse(args); err != nil {
		return usageError{err}
	}
	if *nodes < *processes+2 || *processes < 2 || *mass < 0 || *mass >= 1 {
		return badUsage("--nodes %d --processes %d --mass %v: use at least 2 processes, a node for each and two more, and a part below 1", *nodes, *processes, *mass)
	}
	if !slices.Contains([]string{maquis.HyParView, maquis.XBot, maquis.Scamp, maquis.FullMesh}, *overlay) {
		return badUsage("--overlay %q: use hyparview, xbot, scamp or fullmesh", *overlay)
	}
	var key [32]byte
	if _, err := crand.Read(key[:]); err != nil {
		return err
	}
	began := time.Now()
	s := &scale{say: func(format string, args ...any) {
		fmt.Fprintf(errw, "%7.1fs  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}}
	s.rep = scaleReport{Nodes: *nodes, Processes: *processes + 1, Overlay: *overlay, AtOnce: *atOnce}
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		for _, h := range s.hosts {
			_ = h.cmd.Wait()
		}
	}()
	// The last process has one node, which is to be killed.
	for i := range *processes + 1 {
		var names []string
		for k := i; k < *nodes-1 && i < *processes; k += *processes {
			names = append(names, fmt.Sprintf("n%d", k))
		}
		if i == *processes {
			names = []string{"victim"}
		}
		s.names = append(s.names, names...)
		h, err := startScaleHost(ctx, hex.EncodeToString(key[:]), *overlay, *processes, names, errw)
		if err != nil {
			return err
		}
		s.hosts = append(s.hosts, h)
	}
	if err := s.form(*atOnce, *preset); err != nil {
		return err
	}
	if err := s.measure(*rest, *pairs); err != nil {
		return err
	}
	if err := s.kill(*mass); err != nil {
		return err
	}
	if *file != "" {
		command := "demo scale"
		fs.Visit(func(f *flag.Flag) {
			if f.Name != "out" && f.Name != "commit" {
				command += fmt.Sprintf(" --%s %s", f.Name, f.Value)
			}
		})
		if err := s.rep.write(*file, command, *commit); err != nil {
			return err
		}
	}
	b, err := json.Marshal(s.rep)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, string(b))
	return err
}

// form starts all nodes and waits until all know all: one process after the
// other, as fast as all hear of the nodes of the last but six, or all at once.
func (s *scale) form(atOnce bool, preset string) error {
	began := time.Now()
	var seeds []string
	for len(seeds) < 3 { // free ports below those that dials take
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000)))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		} else if err != nil {
			return err
		}
		seeds = append(seeds, ln.Addr().String())
		_ = ln.Close()
	}
	order := func(h *scaleHost) scaleOrder {
		return scaleOrder{Do: "start", Names: h.names, Seeds: seeds, Preset: preset}
	}
	if atOnce {
		if _, err := s.each(order); err != nil {
			return err
		}
	} else {
		started := 0
		for i, h := range s.hosts {
			o := order(h)
			started += len(h.names)
			if _, err := h.ask(o); err != nil {
				return err
			}
			// Not faster than the news of who joined travel to everybody.
			for _, k := range s.hosts[:i+1] {
				if _, err := k.ask(scaleOrder{Do: "count", Count: started - 6*len(h.names)}); err != nil {
					return err
				}
			}
		}
	}
	s.say("%d nodes started in %d processes", s.rep.Nodes, s.rep.Processes)
	if _, err := s.all(scaleOrder{Do: "count", Count: s.rep.Nodes}); err != nil {
		return err
	}
	s.rep.FormedS = time.Since(began).Seconds()
	s.say("all know all, %.1f s after the first start", s.rep.FormedS)
	return nil
}

func (s *scale) measure(rest time.Duration, pairs int) error {
	time.Sleep(75 * time.Second) // what the joins needed is closed and forgotten
	heaps, err := s.all(scaleOrder{Do: "heap"})
	if err != nil {
		return err
	}
	s.rep.HeapPerNode = sumOf(heaps, func(a scaleAnswer) float64 { return a.Heap }) / float64(s.rep.Nodes)
	before, err := s.all(scaleOrder{Do: "stats"})
	if err != nil {
		return err
	}
	time.Sleep(rest)
	after, err := s.all(scaleOrder{Do: "stats"})
	if err != nil {
		return err
	}
	var links, near []float64
	var bytes uint64
	for i, a := range after {
		links, near = append(links, a.Links...), append(near, a.Neighbors...)
		bytes += a.Bytes - before[i].Bytes
		s.rep.CPU += (a.CPU - before[i].CPU) / rest.Seconds()
	}
	s.rep.Links, s.rep.Neighbors = figuresOf(links), figuresOf(near)
	s.rep.BytesPerNodeS = float64(bytes) / float64(s.rep.Nodes) / rest.Seconds()
	s.say("at rest: %.1f links a node (%.0f at most), %.2f cores, %.0f bytes/s a node, %.2f MiB of heap a node", s.rep.Links.Mean, s.rep.Links.Max, s.rep.CPU, s.rep.BytesPerNodeS, s.rep.HeapPerNode/(1<<20))

	if s.rep.BroadcastReached, s.rep.BroadcastMS, err = s.broadcast("n0"); err != nil {
		return err
	}
	s.say("a broadcast reached %d of %d, p99 %.0f ms", s.rep.BroadcastReached, s.rep.Nodes, s.rep.BroadcastMS.P99)

	relayed := sumOf(after, func(a scaleAnswer) float64 { return float64(a.Relayed) })
	answers, err := s.each(func(h *scaleHost) scaleOrder {
		return scaleOrder{Do: "pairs", Count: (pairs*len(h.names) + s.rep.Nodes - 1) / s.rep.Nodes, All: s.names}
	})
	if err != nil {
		return err
	}
	var ms []float64
	for _, a := range answers {
		s.rep.Pairs += a.Done
		ms = append(ms, a.MS...)
	}
	n := float64(len(ms))
	s.rep.PairsAsked = len(ms)
	s.rep.PairMS = figuresOf(ms)
	if after, err = s.all(scaleOrder{Do: "stats"}); err != nil {
		return err
	}
	s.rep.RelaysPerMessage = (sumOf(after, func(a scaleAnswer) float64 { return float64(a.Relayed) }) - relayed) / max(n, 1)
	s.say("%d of %.0f random pairs answered, median %.1f ms, p99 %.1f ms", s.rep.Pairs, n, s.rep.PairMS.P50, s.rep.PairMS.P99)
	return nil
}

func sumOf(list []scaleAnswer, f func(scaleAnswer) float64) (sum float64) {
	for _, a := range list {
		sum += f(a)
	}
	return sum
}

func (s *scale) broadcast(from string) (reached int, ms figures, err error) {
	if _, err := s.all(scaleOrder{Do: "listen"}); err != nil {
		return 0, ms, err
	}
	if _, err := s.all(scaleOrder{Do: "broadcast", Node: from}); err != nil {
		return 0, ms, err
	}
	time.Sleep(3 * time.Second)
	answers, err := s.all(scaleOrder{Do: "heard"})
	var list []float64
	for _, a := range answers {
		list = append(list, a.MS...)
	}
	return len(list), figuresOf(list), err
}

// kill ends the process with one node, then a part of all others at once.
func (s *scale) kill(part float64) error {
	victim := s.hosts[len(s.hosts)-1]
	s.hosts = s.hosts[:len(s.hosts)-1]
	_ = victim.cmd.Process.Kill()
	began := time.Now()
	if _, err := s.all(scaleOrder{Do: "gone", Node: "victim"}); err != nil {
		return err
	}
	s.rep.KilledKnownS = time.Since(began).Seconds()
	_ = victim.cmd.Wait()
	s.say("a killed node was known to be down everywhere after %.1f s", s.rep.KilledKnownS)
	n := int(part * float64(len(s.hosts)))
	if n == 0 {
		return nil
	}
	left := s.rep.Nodes - 1
	// Any processes but the first, whose n0 broadcasts afterwards.
	rand.Shuffle(len(s.hosts)-1, func(i, j int) { s.hosts[i+1], s.hosts[j+1] = s.hosts[j+1], s.hosts[i+1] })
	dying := s.hosts[len(s.hosts)-n:]
	s.hosts = s.hosts[:len(s.hosts)-n]
	for _, h := range dying {
		_ = h.cmd.Process.Kill()
		s.rep.MassKilled += len(h.names)
	}
	left -= s.rep.MassKilled
	began = time.Now()
	var live []string
	for _, h := range s.hosts {
		live = append(live, h.names...)
	}
	if _, err := s.all(scaleOrder{Do: "exactly", Count: left, All: live}); err != nil {
		return err
	}
	s.rep.MassExactS = time.Since(began).Seconds()
	s.say("%d nodes killed at once: the rosters of the other %d were exact after %.1f s", s.rep.MassKilled, left, s.rep.MassExactS)
	var err error
	s.rep.MassReached, s.rep.MassBroadcastMS, err = s.broadcast("n0")
	s.say("the next broadcast reached %d of %d, p99 %.0f ms", s.rep.MassReached, left, s.rep.MassBroadcastMS.P99)
	for _, h := range dying {
		_ = h.cmd.Wait()
	}
	return err
}
