//go:build linux

// Command run runs a command at one end of an emulated link, and one at the
// other if that is asked for. It needs root and /dev/net/tun; nothing of the
// link stays when it ends, however it does.
//
//	go run ./internal/linkemu/run --rtt 20ms -- ping -c 5 '{peer}'
//	go run ./internal/linkemu/run --rtt 20ms --rate 1Gbit --there 'iperf3 -s' -- iperf3 -c '{peer}'
//	go run ./internal/linkemu/run --rtt 60ms --jitter 20ms --loss 0.05 --offload=false -- bash
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/maquis-go/maquis/internal/linkemu"
	"github.com/maquis-go/maquis/internal/linkemu/tun"
)

func main() {
	status, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = max(status, 1)
	}
	os.Exit(status)
}

func run() (status int, err error) {
	rtt := flag.Duration("rtt", 0, "round trip; half of it in each direction")
	jitter := flag.Duration("jitter", 0, "at most so much more, in each direction")
	loss := flag.Float64("loss", 0, "part of the packets that is lost in each direction, 0 to 1; with --offload=false")
	rate := flag.String("rate", "0", "of each direction, as 1Gbit, 100Mbit or bytes a second; 0 without limit")
	buffer := flag.Int("buffer", 1<<20, "bytes that wait for the line at most")
	mtu := flag.Int("mtu", 1500, "bytes of a packet")
	offload := flag.Bool("offload", true, "hand over up to 64 KiB at once: cheaper")
	seed := flag.Uint64("seed", 1, "of jitter and loss")
	there := flag.String("there", "", "a command of the shell for the other end; ended with this one")
	flag.Parse()
	if flag.NArg() == 0 {
		return 2, errors.New("run: no command; as: run --rtt 20ms -- ping -c 5 '{peer}'")
	}
	bytes, err := parseRate(*rate)
	if err != nil {
		return 2, err
	}
	way := linkemu.Way{Delay: *rtt / 2, Jitter: *jitter, Loss: *loss, Rate: bytes, Buffer: *buffer}
	n, err := tun.Open(tun.Options{Way: way, MTU: *mtu, Offload: *offload, Seed: *seed})
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt) // the commands get it as well; this one ends after them
	start := func(here, other int, args ...string) (*exec.Cmd, error) {
		for i, a := range args {
			a = strings.ReplaceAll(a, "{self}", n.Hosts[here].Addr.String())
			args[i] = strings.ReplaceAll(a, "{peer}", n.Hosts[other].Addr.String())
		}
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		return cmd, n.Hosts[here].Start(cmd)
	}
	if *there != "" {
		cmd, err := start(1, 0, "sh", "-c", *there)
		if err != nil {
			return 1, err
		}
		defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
		time.Sleep(200 * time.Millisecond) // so that it listens, mostly
	}
	cmd, err := start(0, 1, flag.Args()...)
	if err != nil {
		return 1, err
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		status, err = exit.ExitCode(), nil
	}
	fmt.Fprintf(os.Stderr, "there: %+v\nback: %+v\nlate: %+v\n", n.Line(0, 1), n.Line(1, 0), n.Lateness())
	return status, err
}

// parseRate reads a rate in bytes a second.
func parseRate(s string) (int64, error) {
	for unit, bits := range map[string]float64{"kbit": 1e3, "Mbit": 1e6, "Gbit": 1e9} {
		if v, ok := strings.CutSuffix(s, unit); ok {
			f, err := strconv.ParseFloat(v, 64)
			if err != nil || f < 0 {
				return 0, fmt.Errorf("run: --rate %q: use a number and kbit, Mbit or Gbit", s)
			}
			return int64(f * bits / 8), nil
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("run: --rate %q: use a number and kbit, Mbit or Gbit, or bytes a second", s)
	}
	return n, nil
}
