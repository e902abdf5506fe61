package channelmgr

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/channelmgr/frame"
)

// packedBy makes a packed frame that declares a size.
func packedBy(codec uint8, size int, body []byte) []byte {
	b := append(frame.AppendPacked(nil, codec, size), body...)
	frame.Finish(b, 0)
	return b
}

// bombs are packed frames that would take much more than they are.
func bombs() map[string][]byte {
	zeros := make([]byte, 64<<20)
	enc, _ := zstd.NewWriter(nil)
	s2Bomb, zstdBomb := s2.Encode(nil, zeros), enc.EncodeAll(zeros, nil)
	lies := binary.AppendUvarint(nil, 64<<20) // s2: a length and nothing behind it
	twice := append(enc.EncodeAll(zeros[:frame.MaxPacked], nil), enc.EncodeAll(zeros[:frame.MaxPacked], nil)...)
	return map[string][]byte{
		"s2, told":           packedBy(frame.PackS2, 64<<20, s2Bomb),
		"s2, not told":       packedBy(frame.PackS2, 1000, s2Bomb),
		"s2, length only":    packedBy(frame.PackS2, 1000, lies),
		"zstd, told":         packedBy(frame.PackZstd, 64<<20, zstdBomb),
		"zstd, not told":     packedBy(frame.PackZstd, 1000, zstdBomb),
		"zstd, two frames":   packedBy(frame.PackZstd, frame.MaxPacked, twice),
		"zstd, no size told": packedBy(frame.PackZstd, 1000, streamed(zeros)),
		"no such codec":      packedBy(9, 1000, s2Bomb),
		"nothing":            packedBy(frame.PackS2, 1000, nil),
	}
}

// streamed is a zstd frame without its content's size.
func streamed(b []byte) []byte {
	var out bytes.Buffer
	w, _ := zstd.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

// A bomb is refused before anything is allocated for it.
func TestBombs(t *testing.T) {
	var k packers
	k.init()
	for name, raw := range bombs() {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		p, err := frame.ParsePacked(raw)
		if err == nil {
			_, err = k.unpack(p, make([]byte, 0, frame.MaxPacked))
		}
		runtime.ReadMemStats(&after)
		require.Error(t, err, name)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(2<<20), name)
	}
}

// What is packed unpacks to the same, and only what becomes smaller is packed.
func TestPack(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 40_000)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	text := []byte(strings.Repeat("the quick brown fox ", 2000))
	for _, c := range []Compression{S2, Zstd} {
		l := &link{s: &Session{r: &Registry{}}}
		l.packs.understands([]string{"protobuf", codecNames[c]})
		st := new(channelCounters)
		run := func(bodies ...[]byte) []segment {
			var q segments
			for _, b := range bodies {
				raw := append(frame.AppendPiece(nil, 1, 5, 7), b...)
				frame.Finish(raw, 0)
				q.copy(raw)
			}
			l.segs = q.take(nil, 1<<20)
			l.packs.pause = 0
			l.pack(c, st)
			return l.segs
		}
		plain := func(segs []segment) (all []byte) {
			for _, s := range segs {
				if frame.Kind(s.b[4]) != frame.KindPacked {
					all = append(all, s.b...)
					continue
				}
				p, err := frame.ParsePacked(s.b)
				require.NoError(t, err)
				b, err := l.s.r.packers.unpack(p, make([]byte, 0, frame.MaxPacked))
				require.NoError(t, err)
				all = append(all, b...)
			}
			return all
		}
		want := func(bodies ...[]byte) (all []byte) {
			for _, b := range bodies {
				raw := append(frame.AppendPiece(nil, 1, 5, 7), b...)
				frame.Finish(raw, 0)
				all = append(all, raw...)
			}
			return all
		}
		small := text[:500]
		for name, bodies := range map[string][][]byte{
			"one": {text}, "many": {text[:5000], text[:5000], text[:5000]}, "chunks": {text, text, text, text, text}, "noise": {noise}, "small": {small},
		} {
			segs := run(bodies...)
			require.Equal(t, want(bodies...), plain(segs), name)
			packed := frame.Kind(segs[len(segs)-1].b[4]) == frame.KindPacked
			require.Equal(t, name != "noise" && name != "small", packed, name)
		}
		require.Less(t, st.packed.Load(), st.unpacked.Load()/4)
		run(noise)
		require.Equal(t, packPause, l.packs.pause, "what does not help is looked at seldom")
		l.packs.theirs = [3]bool{}
		require.Equal(t, want(text), plain(run(text)))
		require.NotEqual(t, frame.KindPacked, frame.Kind(l.segs[0].b[4]), "the peer does not understand it")
	}
}

// A message of which one piece is packed and one is not stays whole until both
// are written: its memory is nobody else's before.
func TestPackedInPart(t *testing.T) {
	for _, c := range []Compression{S2, Zstd} {
		l := &link{s: &Session{r: &Registry{}}}
		l.packs.understands([]string{codecNames[c]})
		large := newBody(2 * frame.MaxPiece)
		for range frame.MaxPiece / 4 {
			large.b = binary.BigEndian.AppendUint32(large.b, rand.Uint32())
		}
		large.b = large.b[:2*frame.MaxPiece]
		clear(large.b[frame.MaxPiece:])
		want := bytes.Clone(large.b)
		ln := new(lane)
		for rest := large.b; len(rest) > 0; {
			next := rest[:frame.MaxPiece]
			rest = rest[frame.MaxPiece:]
			ln.piece(func(b []byte) []byte { return frame.AppendPiece(b, 1, 5, 7) }, next, lastOf(rest, large), 0)
		}
		l.segs = ln.q.take(nil, writeBatch)
		l.packs.pause = 1
		l.pack(c, new(channelCounters))
		require.Equal(t, frame.KindPacked, frame.Kind(l.segs[len(l.segs)-1].b[4]))
		require.Len(t, large.b, len(want), "released before it is written")
		require.Equal(t, want[:frame.MaxPiece], l.segs[1].b)
		l.releaseSegs()
		require.Empty(t, large.b, "not released")
	}
}

// Whatever a peer packs: nothing panics, and nothing is larger than declared.
func FuzzUnpack(f *testing.F) {
	for _, b := range bombs() {
		if len(b) < 4<<10 {
			f.Add(b)
		}
	}
	text := []byte(strings.Repeat("frame ", 500))
	f.Add(packedBy(frame.PackS2, len(text), s2.Encode(nil, text)))
	enc, _ := zstd.NewWriter(nil)
	f.Add(packedBy(frame.PackZstd, len(text), enc.EncodeAll(text, nil)))
	var k packers
	dst := make([]byte, 0, frame.MaxPacked)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if raw, _, err := frame.Next(raw, frame.MaxData); err == nil && raw != nil && frame.Kind(raw[4]) == frame.KindPacked {
			p, err := frame.ParsePacked(raw)
			if err != nil {
				return
			}
			if b, err := k.unpack(p, dst); err == nil && len(b) != p.Size {
				t.Fatalf("%d bytes, declared %d", len(b), p.Size)
			}
		}
	})
}

// What packing costs who writes, by bytes.
func BenchmarkPack(b *testing.B) {
	text := []byte(strings.Repeat("order 4711: 3 pieces of article 0815 for customer 42; ", 20))
	for name, c := range map[string]Compression{"s2": S2, "zstd": Zstd} {
		b.Run(name, func(b *testing.B) {
			l := &link{s: &Session{r: &Registry{}}}
			l.packs.understands([]string{"s2", "zstd"})
			st := new(channelCounters)
			raw := append(frame.AppendPiece(nil, 1, 5, 7), text...)
			frame.Finish(raw, 0)
			b.SetBytes(int64(len(raw) * 50))
			b.ReportAllocs()
			for b.Loop() {
				var q segments
				for range 50 {
					q.copy(raw)
				}
				l.segs = q.take(l.segs[:0], 1<<20)
				l.pack(c, st)
				l.releaseSegs()
			}
		})
	}
}
