package frame

import "encoding/binary"

// Codecs of packed frames.
const (
	PackS2   uint8 = 1
	PackZstd uint8 = 2
)

// MaxPacked bounds what a packed frame unpacks to, in bytes: as much as a frame
// that was not packed may have.
const MaxPacked = MaxData

// PackedHead is the size of a packed frame without its body.
const PackedHead = 12

// Packed is a run of whole frames that were compressed together.
//
//	0  length  u32
//	4  kind    u8   15
//	5  flags   u8   0
//	6  codec   u8   1 s2, 2 zstd
//	7  zero    u8
//	8  size    u32  bytes that it unpacks to, at most MaxPacked
//	12 body
type Packed struct {
	Codec uint8
	Size  int
	Body  []byte // parsed: a view of the frame
}

// AppendPacked appends the frame up to its body; Finish patches the length.
func AppendPacked(dst []byte, codec uint8, size int) []byte {
	dst = append(dst, 0, 0, 0, 0, byte(KindPacked), 0, codec, 0)
	return binary.BigEndian.AppendUint32(dst, uint32(size))
}

// ParsePacked reads a packed frame. What it unpacks to is bounded here, before
// anybody allocates; whether the body keeps to it is for who unpacks it.
func ParsePacked(raw []byte) (Packed, error) {
	if len(raw) <= PackedHead || raw[5] != 0 || raw[7] != 0 {
		return Packed{}, bad("a malformed packed frame of %d bytes", len(raw))
	}
	size := binary.BigEndian.Uint32(raw[8:])
	if size < 6 || size > MaxPacked {
		return Packed{}, bad("a packed frame of %d bytes that unpacks to %d, the limit is %d", len(raw), size, MaxPacked)
	}
	p := Packed{Codec: raw[6], Size: int(size), Body: raw[PackedHead:]}
	if p.Codec != PackS2 && p.Codec != PackZstd {
		return Packed{}, bad("a packed frame of codec %d", p.Codec)
	}
	return p, nil
}
