package messages

import (
	"slices"
	"strconv"
	"strings"
	"unicode"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Describe writes a message on one line, the same for the same message: its
// short name with the fields that are set, in the order of their numbers, as
// in Join{contacts=[a b] ttl=6}. Of bytes only the length is told. Text that
// could be taken for something else is quoted. The form is stable, other than
// that of protobuf's own text: golden files rest on it.
func Describe(m proto.Message) string {
	if m == nil {
		return "nil"
	}
	r := m.ProtoReflect()
	if !r.IsValid() {
		return string(r.Descriptor().Name()) + "(nil)"
	}
	return string(appendMessage(nil, r))
}

func appendMessage(b []byte, m protoreflect.Message) []byte {
	b = append(b, m.Descriptor().Name()...)
	b = append(b, '{')
	fields := m.Descriptor().Fields()
	order := make([]protoreflect.FieldDescriptor, 0, fields.Len())
	for i := range fields.Len() {
		if m.Has(fields.Get(i)) {
			order = append(order, fields.Get(i))
		}
	}
	slices.SortFunc(order, func(x, y protoreflect.FieldDescriptor) int { return int(x.Number()) - int(y.Number()) })
	for i, f := range order {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, f.Name()...)
		b = append(b, '=')
		v := m.Get(f)
		switch {
		case f.IsMap():
			b = appendMap(b, f, v.Map())
		case f.IsList():
			b = append(b, '[')
			for j := range v.List().Len() {
				if j > 0 {
					b = append(b, ' ')
				}
				b = appendValue(b, f, v.List().Get(j))
			}
			b = append(b, ']')
		default:
			b = appendValue(b, f, v)
		}
	}
	return append(b, '}')
}

// appendMap writes a map in the order of its keys as they are written.
func appendMap(b []byte, f protoreflect.FieldDescriptor, m protoreflect.Map) []byte {
	entries := make([]string, 0, m.Len())
	m.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		e := appendValue(nil, f.MapKey(), k.Value())
		e = append(e, ':')
		entries = append(entries, string(appendValue(e, f.MapValue(), v)))
		return true
	})
	slices.Sort(entries)
	b = append(b, '[')
	b = append(b, strings.Join(entries, " ")...)
	return append(b, ']')
}

func appendValue(b []byte, f protoreflect.FieldDescriptor, v protoreflect.Value) []byte {
	switch f.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return appendMessage(b, v.Message())
	case protoreflect.EnumKind:
		if d := f.Enum().Values().ByNumber(v.Enum()); d != nil {
			return append(b, d.Name()...)
		}
		return strconv.AppendInt(b, int64(v.Enum()), 10)
	case protoreflect.BytesKind:
		return append(strconv.AppendInt(b, int64(len(v.Bytes())), 10), " bytes"...)
	case protoreflect.StringKind:
		s := v.String()
		if s == "" || strings.ContainsFunc(s, ambiguous) {
			return strconv.AppendQuote(b, s)
		}
		return append(b, s...)
	default:
		return append(b, v.String()...)
	}
}

// ambiguous reports whether a rune in a text calls for quotes: it has a
// meaning in our form, or would break the line.
func ambiguous(r rune) bool {
	return unicode.IsSpace(r) || !unicode.IsPrint(r) || strings.ContainsRune(`"\{}[]=`, r)
}
