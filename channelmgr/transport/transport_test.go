package transport_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/maquis-go/maquis/channelmgr/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// each runs a test over every transport, plain and through a network of faults
// that has none.
func each(t *testing.T, f func(t *testing.T, dialer, listener transport.Transport)) {
	faults := transport.NewFaults(1)
	memory := transport.NewMemory()
	t.Run("memory", func(t *testing.T) { f(t, memory, memory) })
	t.Run("tcp", func(t *testing.T) { f(t, transport.TCP{}, transport.TCP{}) })
	t.Run("faults over memory", func(t *testing.T) { f(t, faults.Node("a", memory), faults.Node("b", memory)) })
	t.Run("faults over tcp", func(t *testing.T) {
		f(t, faults.Node("a", transport.TCP{}), faults.Node("b", transport.TCP{}))
	})
}

// ends opens a connection and returns both ends.
func ends(t *testing.T, dialer, listener transport.Transport) (net.Conn, net.Conn) {
	t.Helper()
	ln, err := listener.Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	near, err := dialer.Dial(t.Context(), ln.Addr().String())
	require.NoError(t, err)
	far, err := ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _ = near.Close(); _ = far.Close() })
	return near, far
}

// Everything arrives, in order, both ways at once; a close lets the other end
// read what was written.
func TestOrder(t *testing.T) {
	each(t, func(t *testing.T, dialer, listener transport.Transport) {
		near, far := ends(t, dialer, listener)
		const size = 3 << 20
		var wg sync.WaitGroup
		for i, way := range [][2]net.Conn{{near, far}, {far, near}} {
			sent := make([]byte, size)
			r := rand.NewChaCha8([32]byte{byte(i)})
			_, _ = r.Read(sent)
			wg.Add(2)
			go func() {
				defer wg.Done()
				for rest := sent; len(rest) > 0; {
					n, err := way[0].Write(rest[:min(len(rest), 1+int(r.Uint64()%70000))])
					if err != nil {
						t.Errorf("write: %v", err)
						return
					}
					rest = rest[n:]
				}
			}()
			go func() {
				defer wg.Done()
				got := make([]byte, size)
				if _, err := io.ReadFull(way[1], got); err != nil || !bytes.Equal(got, sent) {
					t.Errorf("way %d: what arrived is not what was sent: %v", i, err)
				}
			}()
		}
		wg.Wait()
		_, err := near.Write([]byte("last words"))
		require.NoError(t, err)
		require.NoError(t, near.Close())
		b, err := io.ReadAll(far)
		require.NoError(t, err)
		require.Equal(t, "last words", string(b))
	})
}

// TryWrite takes what fits and never waits, even for a reader that does not
// read; what it took arrives.
func TestTryWriteNeverWaits(t *testing.T) {
	each(t, func(t *testing.T, dialer, listener transport.Transport) {
		near, far := ends(t, dialer, listener)
		chunk := make([]byte, 64<<10)
		total := 0
		for {
			n, err := near.(transport.TryWriter).TryWrite(chunk)
			require.NoError(t, err)
			total += n
			if n < len(chunk) {
				break
			}
		}
		require.Positive(t, total)
		got := make([]byte, total)
		_, err := io.ReadFull(far, got)
		require.NoError(t, err)
	})
}

// A deadline for a write before says nothing of one that cannot wait.
func TestTryWriteAfterDeadline(t *testing.T) {
	each(t, func(t *testing.T, dialer, listener transport.Transport) {
		near, far := ends(t, dialer, listener)
		require.NoError(t, near.SetWriteDeadline(time.Now().Add(-time.Second)))
		for _, word := range []string{"one", "two"} {
			n, err := near.(transport.TryWriter).TryWrite([]byte(word))
			require.NoError(t, err)
			require.Equal(t, len(word), n)
		}
		got := make([]byte, 6)
		_, err := io.ReadFull(far, got)
		require.NoError(t, err)
		require.Equal(t, "onetwo", string(got))
	})
}

func TestDeadlines(t *testing.T) {
	each(t, func(t *testing.T, dialer, listener transport.Transport) {
		near, _ := ends(t, dialer, listener)
		require.NoError(t, near.SetReadDeadline(time.Now().Add(5*time.Millisecond)))
		_, err := near.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.NoError(t, near.SetWriteDeadline(time.Now().Add(5*time.Millisecond)))
		for err = nil; err == nil; {
			_, err = near.Write(make([]byte, 1<<20))
		}
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	})
}

// What is written to one that has closed breaks, which is not the writer's own
// close: that would be taken for the end of a link by agreement.
func TestWriteToTheClosed(t *testing.T) {
	each(t, func(t *testing.T, dialer, listener transport.Transport) {
		near, far := ends(t, dialer, listener)
		require.NoError(t, far.Close())
		require.NoError(t, near.SetWriteDeadline(time.Now().Add(time.Minute)))
		var err error
		for err == nil {
			_, err = near.Write([]byte("x"))
		}
		require.NotErrorIs(t, err, net.ErrClosed)
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	})
}

func TestDialRefused(t *testing.T) {
	each(t, func(t *testing.T, dialer, listener transport.Transport) {
		ln, err := listener.Listen(t.Context(), "127.0.0.1:0")
		require.NoError(t, err)
		addr := ln.Addr().String()
		require.NoError(t, ln.Close())
		_, err = dialer.Dial(t.Context(), addr)
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
	})
}

func TestListenTwice(t *testing.T) {
	each(t, func(t *testing.T, _, listener transport.Transport) {
		ln, err := listener.Listen(t.Context(), "127.0.0.1:0")
		require.NoError(t, err)
		defer ln.Close()
		_, err = listener.Listen(t.Context(), ln.Addr().String())
		require.ErrorIs(t, err, syscall.EADDRINUSE)
	})
}

// faulty runs a test on virtual time, and over TCP in real time.
func faulty(t *testing.T, f func(t *testing.T, faults *transport.Faults, near, far net.Conn)) {
	run := func(t *testing.T, over transport.Transport) {
		faults := transport.NewFaults(1)
		near, far := ends(t, faults.Node("a", over), faults.Node("b", over))
		f(t, faults, near, far)
		faults.Heal()
		_ = near.Close()
		_ = far.Close()
	}
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { run(t, transport.NewMemory()) })
	})
	t.Run("tcp", func(t *testing.T) { run(t, transport.TCP{}) })
}

func expect(t *testing.T, c net.Conn, want string) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
	got := make([]byte, len(want))
	_, err := io.ReadFull(c, got)
	require.NoError(t, err)
	require.Equal(t, want, string(got))
}

func expectNothing(t *testing.T, c net.Conn) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
	n, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.Zero(t, n)
}

// A cut holds what is on its way; healed, all of it arrives in order.
func TestCutHolds(t *testing.T) {
	faulty(t, func(t *testing.T, faults *transport.Faults, near, far net.Conn) {
		_, _ = io.WriteString(near, "before ")
		expect(t, far, "before ")
		faults.Cut("a", "b")
		for i := range 10 {
			_, err := fmt.Fprint(near, i)
			require.NoError(t, err)
		}
		_, _ = io.WriteString(far, "answer")
		expectNothing(t, far)
		expectNothing(t, near)
		faults.Heal()
		expect(t, far, "0123456789")
		expect(t, near, "answer")
	})
}

// One direction can be cut, ends of connections are held like bytes.
func TestCutOneWay(t *testing.T) {
	faulty(t, func(t *testing.T, faults *transport.Faults, near, far net.Conn) {
		faults.CutOneWay("b", "a")
		_, _ = io.WriteString(near, "question")
		expect(t, far, "question")
		_, _ = io.WriteString(far, "answer")
		require.NoError(t, far.Close())
		expectNothing(t, near)
		faults.Heal()
		expect(t, near, "answer")
		_, err := near.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
	})
}

func TestReset(t *testing.T) {
	faulty(t, func(t *testing.T, faults *transport.Faults, near, far net.Conn) {
		faults.Cut("a", "b") // a reset passes a cut: the test ends both ends
		faults.Reset("b", "a")
		for _, c := range []net.Conn{near, far} {
			require.NoError(t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
			_, err := c.Read(make([]byte, 1))
			require.Error(t, err)
			require.False(t, errors.Is(err, os.ErrDeadlineExceeded), "%v", err)
		}
	})
}

// Dials over a cut, either way, end with their context, or succeed once it is
// healed.
func TestDialOverCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory, faults := transport.NewMemory(), transport.NewFaults(1)
		ln, err := faults.Node("b", memory).Listen(t.Context(), "b:1")
		require.NoError(t, err)
		defer ln.Close()
		a := faults.Node("a", memory)
		for _, way := range [][2]string{{"a", "b"}, {"b", "a"}} {
			faults.CutOneWay(way[0], way[1])
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err = a.Dial(ctx, "b:1")
			cancel()
			require.ErrorIs(t, err, syscall.ETIMEDOUT)
			time.AfterFunc(time.Second, faults.Heal)
			c, err := a.Dial(t.Context(), "b:1")
			require.NoError(t, err)
			require.NoError(t, c.Close())
			far, err := ln.Accept()
			require.NoError(t, err)
			require.NoError(t, far.Close())
		}
	})
}

// A delay is of each byte, in order, whatever the jitter; a rate is a rate.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory, faults := transport.NewMemory(), transport.NewFaults(1)
		near, far := ends(t, faults.Node("a", memory), faults.Node("b", memory))
		defer near.Close()
		defer far.Close()
		faults.Slow("a", "b", transport.Link{Latency: time.Second, Jitter: time.Second})
		began := time.Now()
		for i := range 10 {
			_, _ = fmt.Fprint(near, i)
			time.Sleep(10 * time.Millisecond)
		}
		expect(t, far, "0123456789")
		require.GreaterOrEqual(t, time.Since(began), time.Second)
		require.Less(t, time.Since(began), 2200*time.Millisecond, "delays add up to one, not to ten")
		faults.Slow("a", "b", transport.Link{Rate: 100 << 10})
		began = time.Now()
		go func() { _, _ = near.Write(make([]byte, 300<<10)) }()
		_, err := io.ReadFull(far, make([]byte, 300<<10))
		require.NoError(t, err)
		require.InDelta(t, 3, time.Since(began).Seconds(), 0.01)
		synctest.Wait()
	})
}

// What is lost is sent again: it comes later, in order, and nothing is missing.
func TestLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory, faults := transport.NewMemory(), transport.NewFaults(1)
		near, far := ends(t, faults.Node("a", memory), faults.Node("b", memory))
		defer near.Close()
		defer far.Close()
		faults.Slow("a", "b", transport.Link{Loss: 0.3})
		late := 0
		for range 100 {
			began := time.Now()
			_, _ = io.WriteString(near, "x")
			expect(t, far, "x")
			if d := time.Since(began); d > 0 {
				require.GreaterOrEqual(t, d, 200*time.Millisecond)
				late++
			}
		}
		require.InDelta(t, 30, late, 15)
		faults.Slow("a", "b", transport.Link{Loss: 1})
		began := time.Now()
		_, _ = io.WriteString(near, "even so")
		expect(t, far, "even so")
		require.Less(t, time.Since(began), 10*time.Second, "not more than five times in a row")
		faults.Heal()
		synctest.Wait()
	})
}

// Nodes of several processes have faults of their own: each knows where the
// others listen, and dials have theirs at the end that makes them.
func TestPlace(t *testing.T) {
	here, there := transport.NewFaults(1), transport.NewFaults(1)
	ln, err := there.Node("b", transport.TCP{}).Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	here.Place("b", ln.Addr().String())
	here.Cut("a", "b")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = here.Node("a", transport.TCP{}).Dial(ctx, ln.Addr().String())
	require.ErrorIs(t, err, syscall.ETIMEDOUT)
	here.Heal()
	near, err := here.Node("a", transport.TCP{}).Dial(t.Context(), ln.Addr().String())
	require.NoError(t, err)
	defer near.Close()
	far, err := ln.Accept()
	require.NoError(t, err)
	defer far.Close()
	here.Reset("a", "b")
	require.NoError(t, far.SetReadDeadline(time.Now().Add(10*time.Second)))
	_, err = far.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET, "the other process sees it, too")
}

// Dials come from the address that is asked for.
func TestDialFrom(t *testing.T) {
	ln, err := transport.TCP{}.Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	near, err := transport.TCP{From: "127.0.0.1"}.Dial(t.Context(), ln.Addr().String())
	require.NoError(t, err)
	defer near.Close()
	host, _, err := net.SplitHostPort(near.LocalAddr().String())
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1", host)
	_, err = transport.TCP{From: "nowhere"}.Dial(t.Context(), ln.Addr().String())
	require.ErrorContains(t, err, `"nowhere"`)
}
