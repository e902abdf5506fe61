//go:build linux

package tun

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/internal/linkemu"
)

const ms = time.Millisecond

// envRole makes the test binary something else.
const envRole = "MAQUIS_TUN_TEST"

func TestMain(m *testing.M) {
	switch role := os.Getenv(envRole); role {
	case "":
		os.Exit(m.Run())
	case "open":
		n, err := Open(Options{Way: linkemu.Way{Buffer: 1 << 20}})
		var missing *MissingError
		if errors.As(err, &missing) {
			fmt.Println(missing.What)
			os.Exit(3)
		}
		fmt.Println(err, n != nil)
	default: // a network with a process in it, which then ends somehow
		n, err := Open(Options{Way: linkemu.Way{Buffer: 1 << 20}})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		cmd := exec.Command("sleep", "1000")
		if err := n.Hosts[0].Start(cmd); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		space, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid))
		fmt.Println(space, err)
		switch role {
		case "panic":
			panic("as asked for")
		case "interrupt": // as a command that handles it
			c := make(chan os.Signal, 1)
			signal.Notify(c, os.Interrupt)
			fmt.Println("ready")
			<-c
			_ = n.Close()
		default:
			fmt.Println("ready")
			select {}
		}
	}
}

// open opens a network for a test, or skips the test where there can be none.
func open(t testing.TB, o Options) *Network {
	t.Helper()
	n, err := Open(o)
	var missing *MissingError
	if errors.As(err, &missing) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	return n
}

// connect makes a TCP connection from the first host to the second.
func connect(t testing.TB, n *Network) (near, far *net.TCPConn) {
	t.Helper()
	var ln net.Listener
	require.NoError(t, n.Hosts[1].Do(func() (err error) {
		ln, err = net.Listen("tcp", n.Hosts[1].Addr.String()+":0")
		return err
	}))
	defer func() { _ = ln.Close() }()
	require.NoError(t, n.Hosts[0].Do(func() error {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err == nil {
			near = c.(*net.TCPConn)
		}
		return err
	}))
	c, err := ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _ = near.Close(); _ = c.Close() })
	return near, c.(*net.TCPConn)
}

// echo answers every byte until the connection ends.
func echo(c net.Conn) { _, _ = io.Copy(c, c) }

// roundTrips sends single bytes there and back and returns how long each took, sorted.
func roundTrips(t testing.TB, c net.Conn, count int) (took []time.Duration) {
	b := []byte{1}
	for range count {
		began := time.Now()
		_, err := c.Write(b)
		require.NoError(t, err)
		_, err = io.ReadFull(c, b)
		require.NoError(t, err)
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took
}

// A round trip takes at least the delays of both directions, and half of them not much more.
func TestDelay(t *testing.T) {
	for _, delay := range []time.Duration{0, 500 * time.Microsecond, 10 * ms} {
		t.Run(delay.String(), func(t *testing.T) {
			n := open(t, Options{Way: linkemu.Way{Delay: delay, Buffer: 1 << 20}})
			near, far := connect(t, n)
			go echo(far)
			took := roundTrips(t, near, 100)
			t.Logf("round trip: least %v, half %v, most %v; packets late by %+v", took[0], took[50], took[99], n.Lateness())
			require.GreaterOrEqual(t, took[0], 2*delay)
			require.Zero(t, n.Counters().Lost+n.Counters().Overflow+n.Counters().Device+n.Counters().Failed)
		})
	}
}

// transfer sends size bytes from the first host to the second and returns how long that took.
func transfer(t testing.TB, n *Network, size int64) time.Duration {
	near, far := connect(t, n)
	began := time.Now()
	go func() {
		_, _ = io.CopyN(near, zeros{}, size)
		_ = near.CloseWrite()
	}()
	got, err := io.Copy(io.Discard, far)
	require.NoError(t, err)
	require.Equal(t, size, got)
	return time.Since(began)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// More than the rate does not pass, in all ways to hand packets over.
func TestRate(t *testing.T) {
	for _, o := range []Options{{}, {Offload: true}, {MTU: MaxMTU}} {
		t.Run(fmt.Sprintf("MTU %d offload %v", o.MTU, o.Offload), func(t *testing.T) {
			const rate, size = 10 << 20, 4 << 20
			o.Way = linkemu.Way{Delay: ms, Rate: rate, Buffer: 1 << 20}
			n := open(t, o)
			took := transfer(t, n, size)
			require.Greater(t, took, time.Duration(size*int64(time.Second)/rate))
			c := n.Counters()
			t.Logf("%v, %+v", took, c)
			require.GreaterOrEqual(t, c.Bytes, uint64(size))
			require.Zero(t, c.Device+c.Failed)
		})
	}
}

// What the kernel sends is what comes to the line, and each packet is accounted for.
func TestLossAndOverflow(t *testing.T) {
	n := open(t, Options{Way: linkemu.Way{Delay: ms, Jitter: 2 * ms, Loss: 0.05, Rate: 20 << 20, Buffer: 30_000}, Seed: 4})
	transfer(t, n, 1<<20)
	require.Eventually(t, func() bool { return n.Counters().OnTheWay == 0 }, 10*time.Second, ms)
	c := n.Counters()
	t.Logf("%+v", c)
	require.NotZero(t, c.Lost)
	require.NotZero(t, c.Overflow)
	require.Equal(t, c.Packets, c.Arrived+c.Lost+c.Overflow)
	require.Equal(t, c.Bytes, c.ArrivedBytes+c.LostBytes+c.OverflowBytes)
	require.LessOrEqual(t, c.MaxQueued, 30_000)
	require.Zero(t, c.Device+c.Failed)
}

// A way can be changed while packets are on it, and each direction by itself.
func TestSet(t *testing.T) {
	n := open(t, Options{Hosts: 3, Way: linkemu.Way{Buffer: 1 << 20}})
	near, far := connect(t, n)
	go echo(far)
	roundTrips(t, near, 3)
	require.NoError(t, n.Set(1, 0, linkemu.Way{Delay: 30 * ms, Buffer: 1 << 20}))
	require.GreaterOrEqual(t, roundTrips(t, near, 3)[0], 30*ms)
	require.NoError(t, n.Set(1, 0, linkemu.Way{Buffer: 1 << 20}))
	require.Eventually(t, func() bool { return roundTrips(t, near, 1)[0] < 30*ms }, 10*time.Second, ms)
	require.Error(t, n.Set(0, 0, linkemu.Way{Buffer: 1}))
	require.Error(t, n.Set(0, 3, linkemu.Way{Buffer: 1}))
	require.Error(t, n.Set(0, 1, linkemu.Way{}))
}

func TestSysctl(t *testing.T) {
	n := open(t, Options{Way: linkemu.Way{Buffer: 1 << 20}, Sysctl: map[string]string{"net.ipv4.tcp_congestion_control": "reno"}})
	cc, err := n.Hosts[1].Sysctl("net.ipv4.tcp_congestion_control")
	require.NoError(t, err)
	require.Equal(t, "reno", cc)
	_, err = Open(Options{Way: linkemu.Way{Buffer: 1 << 20}, Sysctl: map[string]string{"net.ipv4.none": "1"}})
	require.ErrorContains(t, err, "net.ipv4.none")
}

func TestValidate(t *testing.T) {
	ok := linkemu.Way{Buffer: 1}
	require.NoError(t, Options{Way: ok}.Validate())
	for want, o := range map[string]Options{
		"tun: Options.Hosts is 1: use 2 to 64":             {Hosts: 1, Way: ok},
		"tun: Options.MTU is 100 bytes: use 576 to 65535":  {MTU: 100, Way: ok},
		"linkemu: Way.Buffer is 0 bytes: use 1 to":         {},
		"tun: Options.Offload and Way.Loss: 64 KiB would ": {Offload: true, Way: linkemu.Way{Buffer: 1, Loss: 0.1}},
	} {
		_, err := Open(o)
		require.ErrorContains(t, err, want)
	}
}

// role starts this binary as something else; its first lines come back.
func role(t *testing.T, name string, lines int, with func(*exec.Cmd)) (*exec.Cmd, []string) {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), envRole+"="+name)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	if with != nil {
		with(cmd)
	}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	var got []string
	for s := bufio.NewScanner(out); len(got) < lines && s.Scan(); {
		got = append(got, s.Text())
	}
	return cmd, got
}

// However the process ends, no namespace, device or process stays.
func TestCleanUp(t *testing.T) {
	open(t, Options{Way: linkemu.Way{Buffer: 1}}) // or skip
	for _, c := range []struct {
		how    string
		lines  int
		signal os.Signal
	}{{"panic", 1, nil}, {"interrupt", 2, os.Interrupt}, {"wait", 2, os.Interrupt}, {"wait", 2, os.Kill}} {
		t.Run(fmt.Sprint(c.how, c.signal), func(t *testing.T) {
			cmd, lines := role(t, c.how, c.lines, nil)
			require.Len(t, lines, c.lines)
			space, _, _ := strings.Cut(lines[0], " ")
			require.Contains(t, space, "net:[")
			if c.signal != nil {
				require.NotZero(t, usersOf(t, space))
				require.NoError(t, cmd.Process.Signal(c.signal))
			}
			_ = cmd.Wait()
			require.Eventually(t, func() bool { return usersOf(t, space) == 0 }, 20*time.Second, 5*ms)
		})
	}
}

// usersOf counts the processes in a network namespace; one that nobody is in is gone.
func usersOf(t *testing.T, space string) (n int) {
	links, err := filepath.Glob("/proc/[0-9]*/task/[0-9]*/ns/net")
	require.NoError(t, err)
	for _, l := range links {
		if s, err := os.Readlink(l); err == nil && s == space {
			n++
		}
	}
	return n
}

// Without rights the error names them.
func TestMissing(t *testing.T) {
	cmd, lines := role(t, "open", 1, func(cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER} // where nobody is root
	})
	_ = cmd.Wait()
	require.Equal(t, []string{"root"}, lines)
	require.Equal(t, 3, cmd.ProcessState.ExitCode())
}

// go test -run xxx -bench Transfer ./internal/linkemu/tun: what a link carries without a rate.
func BenchmarkTransfer(b *testing.B) {
	for _, o := range []Options{{}, {Offload: true}, {MTU: MaxMTU}} {
		b.Run(fmt.Sprintf("MTU %d offload %v", o.withDefaults().MTU, o.Offload), func(b *testing.B) {
			o.Way = linkemu.Way{Delay: ms / 2, Buffer: 8 << 20}
			n := open(b, o)
			const size = 64 << 20
			b.SetBytes(size)
			var before, after syscall.Rusage
			_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
			for range b.N {
				transfer(b, n, size)
			}
			_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
			cpu := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
			b.ReportMetric(cpu.Seconds()/b.Elapsed().Seconds(), "cores")
			l := n.Lateness()
			b.ReportMetric(float64(l.P50.Microseconds()), "late-p50-µs")
			b.ReportMetric(float64(l.P99.Microseconds()), "late-p99-µs")
		})
	}
}
