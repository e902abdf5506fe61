package actors_test

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
)

// pair starts two nodes on loopback TCP, as in production but in one process.
func pair(b *testing.B, opts ...maquis.Option) (x, y *maquis.Distribution, sx, sy *actor.ActorSystem) {
	b.Helper()
	start := func(name string, more ...maquis.Option) (*maquis.Distribution, *actor.ActorSystem) {
		system := quietSystem()
		all := append([]maquis.Option{maquis.WithProfile("test"), maquis.WithName(name), maquis.WithSecret(secret), maquis.WithLogger(slog.New(slog.DiscardHandler))}, opts...)
		d, err := maquis.Start(context.Background(), system, append(all, more...)...)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = d.Stop(context.Background()); system.Shutdown() })
		return d, system
	}
	x, sx = start("x")
	y, sy = start("y", maquis.WithSeeds(x.Self().Addrs[0]))
	for _, d := range []*maquis.Distribution{x, y} {
		if err := d.WaitForMembers(context.Background(), 2); err != nil {
			b.Fatal(err)
		}
	}
	return x, y, sx, sy
}

func modes(b *testing.B, f func(b *testing.B, opts ...maquis.Option)) {
	b.Run("tls", func(b *testing.B) { f(b) })
	b.Run("insecure", func(b *testing.B) { f(b, maquis.WithInsecure()) })
}

// One-way messages of 64 bytes from 16 senders to 16 actors.
func BenchmarkOneWay64(b *testing.B) {
	modes(b, func(b *testing.B, opts ...maquis.Option) {
		x, _, sx, sy := pair(b, opts...)
		var got atomic.Int64
		for _, id := range ids {
			_, _ = sy.Root.SpawnNamed(actor.PropsFromFunc(func(c actor.Context) {
				if _, ok := c.Message().(*wrapperspb.BytesValue); ok {
					got.Add(1)
				}
			}), id)
		}
		msg := wrapperspb.Bytes(make([]byte, 64))
		b.ReportAllocs()
		b.ResetTimer()
		var wg sync.WaitGroup
		var sent atomic.Int64
		for _, id := range ids {
			wg.Add(1)
			go func() {
				defer wg.Done()
				pid := x.PID("y", id)
				for n := sent.Add(1); n <= int64(b.N); n = sent.Add(1) {
					for n-got.Load() > 10000 {
						time.Sleep(50 * time.Microsecond)
					}
					sx.Root.Send(pid, msg)
				}
			}()
		}
		wg.Wait()
		for got.Load() < int64(b.N) {
			time.Sleep(50 * time.Microsecond)
		}
	})
}

var ids = []string{"s00", "s01", "s02", "s03", "s04", "s05", "s06", "s07", "s08", "s09", "s10", "s11", "s12", "s13", "s14", "s15"}

// Requests of 64 bytes, one or many outstanding, by futures and by Call.
func BenchmarkRequest64(b *testing.B) {
	for _, outstanding := range []int{1, 256} {
		name := "1"
		if outstanding > 1 {
			name = "256"
		}
		modes(b, func(b *testing.B, opts ...maquis.Option) {
			x, _, sx, sy := pair(b, opts...)
			_, _ = sy.Root.SpawnNamed(actor.PropsFromFunc(func(c actor.Context) {
				if m, ok := c.Message().(*wrapperspb.BytesValue); ok {
					c.Respond(m)
				}
			}), "echo")
			pid := x.PID("y", "echo")
			msg := wrapperspb.Bytes(make([]byte, 64))
			each := func(b *testing.B, request func() error) {
				b.ReportAllocs()
				var wg sync.WaitGroup
				var n atomic.Int64
				b.ResetTimer()
				for range outstanding {
					wg.Add(1)
					go func() {
						defer wg.Done()
						for n.Add(1) <= int64(b.N) {
							if err := request(); err != nil {
								b.Error(err)
								return
							}
						}
					}()
				}
				wg.Wait()
			}
			b.Run("future/"+name, func(b *testing.B) {
				each(b, func() error { return sx.Root.RequestFuture(pid, msg, 10*time.Second).Wait() })
			})
			b.Run("call/"+name, func(b *testing.B) {
				each(b, func() error {
					_, err := maquis.Call[*wrapperspb.BytesValue](context.Background(), x, pid, msg)
					return err
				})
			})
		})
	}
}

// Large messages from 4 senders over 4 lanes.
func BenchmarkOneWay64K(b *testing.B) {
	modes(b, func(b *testing.B, opts ...maquis.Option) {
		opts = append(opts, maquis.WithChannels(maquis.ChannelSpec{Name: "bulk", Lanes: 4}))
		x, _, sx, sy := pair(b, opts...)
		var got atomic.Int64
		for _, id := range ids {
			_, _ = sy.Root.SpawnNamed(actor.PropsFromFunc(func(c actor.Context) {
				if _, ok := c.Message().(*wrapperspb.BytesValue); ok {
					got.Add(1)
				}
			}), id)
		}
		msg := wrapperspb.Bytes(make([]byte, 64<<10))
		b.SetBytes(64 << 10)
		b.ReportAllocs()
		b.ResetTimer()
		var wg sync.WaitGroup
		var sent atomic.Int64
		for _, id := range ids {
			wg.Add(1)
			go func() {
				defer wg.Done()
				pid := x.PID("y", id, maquis.WithChannel("bulk"))
				for n := sent.Add(1); n <= int64(b.N); n = sent.Add(1) {
					for n-got.Load() > 512 {
						time.Sleep(50 * time.Microsecond)
					}
					sx.Root.Send(pid, msg)
				}
			}()
		}
		wg.Wait()
		for got.Load() < int64(b.N) {
			time.Sleep(50 * time.Microsecond)
		}
	})
}
