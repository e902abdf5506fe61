package overlaytest

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Fill fills a message with what dice draw: any field may be missing, texts are
// drawn from words, numbers are small or extreme, lists are short or absurdly
// long. It is how fuzz targets make what a hostile peer may send.
func Fill(d *Dice, m proto.Message, words []string) proto.Message {
	fill(d, m.ProtoReflect(), words, 0)
	return m
}

func fill(d *Dice, m protoreflect.Message, words []string, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if d.N(6) == 0 {
			continue
		}
		switch {
		case f.IsMap(): // none of ours
		case f.IsList():
			n := d.N(4)
			if d.N(32) == 0 {
				n = 1000
			}
			list := m.Mutable(f).List()
			for range n {
				if f.Kind() == protoreflect.MessageKind {
					fill(d, list.AppendMutable().Message(), words, depth+1)
				} else {
					list.Append(scalar(d, f, words))
				}
			}
		case f.Kind() == protoreflect.MessageKind:
			if depth < 4 {
				fill(d, m.Mutable(f).Message(), words, depth+1)
			}
		default:
			m.Set(f, scalar(d, f, words))
		}
	}
}

func scalar(d *Dice, f protoreflect.FieldDescriptor, words []string) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(d.N(2) == 0)
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(words[d.N(len(words))])
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(make([]byte, d.Byte()))
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(int32(d.Uint())))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(d.Uint()))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(d.Uint())
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(d.Uint()))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(int64(d.Uint()))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(float64(d.Uint()))
	default:
		return protoreflect.ValueOfFloat32(float32(d.Uint()))
	}
}
