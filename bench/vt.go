package main

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
)

// SizeVT, MarshalToSizedBufferVT, UnmarshalVT and UnmarshalVTUnsafe are what
// vtprotobuf would generate for Fast.

// SizeVT returns the encoded size.
func (m *Fast) SizeVT() int {
	if len(m.Value) == 0 {
		return 0
	}
	return 1 + protowire.SizeBytes(len(m.Value))
}

// MarshalToSizedBufferVT encodes m at the end of b.
func (m *Fast) MarshalToSizedBufferVT(b []byte) (int, error) {
	if len(m.Value) == 0 {
		return 0, nil
	}
	i := len(b) - len(m.Value)
	copy(b[i:], m.Value)
	var head [11]byte
	h := protowire.AppendVarint(append(head[:0], 0x0a), uint64(len(m.Value)))
	i -= len(h)
	copy(b[i:], h)
	return len(b) - i, nil
}

// UnmarshalVT decodes m.
func (m *Fast) UnmarshalVT(b []byte) error {
	if err := m.UnmarshalVTUnsafe(b); err != nil {
		return err
	}
	m.Value = append([]byte(nil), m.Value...)
	return nil
}

// UnmarshalVTUnsafe decodes m, which then refers to b.
func (m *Fast) UnmarshalVTUnsafe(b []byte) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errors.New("malformed tag")
		}
		b = b[n:]
		if num == 1 && typ == protowire.BytesType {
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return errors.New("malformed bytes")
			}
			m.Value = v
			b = b[n:]
			continue
		}
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return errors.New("malformed field")
		}
		b = b[n:]
	}
	return nil
}
