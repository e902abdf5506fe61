package channelmgr

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/maquis-go/maquis/messages"
)

func planOf(t testing.TB, rules []RoutingRule, specs ...ChannelSpec) (*plan, error) {
	t.Helper()
	m := map[string]ChannelSpec{DataChannel: {Name: DataChannel}}
	for _, c := range specs {
		m[c.Name] = c
	}
	return newPlan(m, rules)
}

const (
	stringType = "google.protobuf.StringValue"
	bytesType  = "google.protobuf.BytesValue"
)

// What travels on which channel when the send names none.
func TestPick(t *testing.T) {
	types := messages.NewRegistry()
	text, small, large := wrapperspb.String("x"), wrapperspb.Bytes(make([]byte, 10)), wrapperspb.Bytes(make([]byte, 20_000))
	chunks := ChannelSpec{Name: "chunks", Types: []string{bytesType}}
	fast, bulk := ChannelSpec{Name: "fast"}, ChannelSpec{Name: "bulk"}
	big := RoutingRule{MinSize: 10_000, Channel: "bulk"}
	urgent := RoutingRule{Urgency: []Priority{High}, MaxSize: 1024, Channel: "fast"}
	for _, c := range []struct {
		name  string
		rules []RoutingRule
		specs []ChannelSpec
		out   Outgoing
		want  string
	}{
		{"nothing said", nil, nil, Outgoing{Msg: text}, "data"},
		{"an answer rides its question's channel", nil, []ChannelSpec{fast}, Outgoing{Msg: text, Reply: "fast"}, "fast"},
		{"unless that is unknown here", nil, nil, Outgoing{Msg: text, Reply: "fast"}, "data"},
		{"a bound type", nil, []ChannelSpec{chunks}, Outgoing{Msg: small}, "chunks"},
		{"another type", nil, []ChannelSpec{chunks}, Outgoing{Msg: text}, "data"},
		{"a type before the question's channel", nil, []ChannelSpec{chunks, fast}, Outgoing{Msg: small, Reply: "fast"}, "chunks"},
		{"a system message heeds no type", nil, []ChannelSpec{chunks}, Outgoing{Msg: small, System: true}, "data"},
		{"a rule by size", []RoutingRule{big}, []ChannelSpec{bulk}, Outgoing{Msg: large}, "bulk"},
		{"too small for it", []RoutingRule{big}, []ChannelSpec{bulk}, Outgoing{Msg: small}, "data"},
		{"a rule before a type", []RoutingRule{big}, []ChannelSpec{bulk, chunks}, Outgoing{Msg: large}, "bulk"},
		{"a rule by urgency", []RoutingRule{urgent}, []ChannelSpec{fast}, Outgoing{Msg: text, Urgency: High}, "fast"},
		{"not urgent", []RoutingRule{urgent}, []ChannelSpec{fast}, Outgoing{Msg: text}, "data"},
		{"urgent and too large", []RoutingRule{urgent, big}, []ChannelSpec{fast, bulk}, Outgoing{Msg: large, Urgency: High}, "bulk"},
		{"a rule by type", []RoutingRule{{Types: []string{stringType}, Channel: "fast"}}, []ChannelSpec{fast}, Outgoing{Msg: text}, "fast"},
		{"the first that holds", []RoutingRule{{Channel: "fast"}, big}, []ChannelSpec{fast, bulk}, Outgoing{Msg: large}, "fast"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := planOf(t, c.rules, c.specs...)
			require.NoError(t, err)
			typ, err := types.Of(c.out.Msg)
			require.NoError(t, err)
			require.Equal(t, c.want, p.pick(typ, &c.out))
		})
	}
}

// Wrong rules and types are refused with the value and what to do.
func TestPlanRefuses(t *testing.T) {
	for _, c := range []struct {
		rule RoutingRule
		want string
	}{
		{RoutingRule{Channel: "bulc"}, `do you mean "bulk"?`},
		{RoutingRule{Channel: "quite another"}, `unknown channel`},
		{RoutingRule{Channel: ControlChannel}, `the runtime's`},
		{RoutingRule{Channel: "bulk", MinSize: -1}, `-1`},
		{RoutingRule{Channel: "bulk", MinSize: 10, MaxSize: 9}, `no message is so`},
		{RoutingRule{Channel: "bulk", Urgency: []Priority{7}}, `urgency 7`},
	} {
		_, err := planOf(t, []RoutingRule{c.rule}, ChannelSpec{Name: "bulk"})
		require.ErrorContains(t, err, c.want)
		require.ErrorContains(t, err, "rule 1")
	}
	_, err := planOf(t, make([]RoutingRule, MaxRules+1))
	require.ErrorContains(t, err, "at most 256")
	_, err = planOf(t, nil, ChannelSpec{Name: "a", Types: []string{"x.Y"}}, ChannelSpec{Name: "b", Types: []string{"x.Y"}})
	require.ErrorContains(t, err, `"a" and "b" both claim messages of type "x.Y"`)
}

// Presets are valid as they stand.
func TestPresets(t *testing.T) {
	for name, specs := range presets {
		for _, c := range specs {
			require.NoError(t, c.Validate(), name)
		}
	}
	_, err := Preset("fundation")
	require.ErrorContains(t, err, "use one of foundation, planes")
}

// What choosing a channel costs a message: nothing to speak of for who binds no
// types and has no rules.
func BenchmarkPick(b *testing.B) {
	types := messages.NewRegistry()
	msg := wrapperspb.Bytes(make([]byte, 64))
	typ, err := types.Of(msg)
	require.NoError(b, err)
	chunks, bulk := ChannelSpec{Name: "chunks", Types: []string{bytesType}}, ChannelSpec{Name: "bulk"}
	for _, c := range []struct {
		name  string
		rules []RoutingRule
		specs []ChannelSpec
	}{
		{"unused", nil, nil},
		{"types", nil, []ChannelSpec{chunks}},
		{"rules", []RoutingRule{{MinSize: 10_000, Channel: "bulk"}, {Urgency: []Priority{High}, Channel: "bulk"}}, []ChannelSpec{bulk}},
	} {
		b.Run(c.name, func(b *testing.B) {
			p, err := planOf(b, c.rules, c.specs...)
			require.NoError(b, err)
			b.ReportAllocs()
			o := Outgoing{Msg: msg}
			for b.Loop() {
				p.pick(typ, &o)
			}
		})
	}
}
