package elixir

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Literals are read as Elixir reads them, and written as it would.
func TestLiterals(t *testing.T) {
	for src, want := range map[string]string{
		`:ok`: `:ok`, `:"a@127.0.0.1"`: `:"a@127.0.0.1"`, `:app@host`: `:app@host`, `:+`: `:"+"`,
		`true`: `true`, `nil`: `nil`, `Cluster.Strategy.Kubernetes.DNS`: `Cluster.Strategy.Kubernetes.DNS`,
		`45_892`: `45892`, `-3`: `-3`, `0x1F`: `31`, `0b101`: `5`, `?a`: `97`, `?\n`: `10`, `1.5e-3`: `1.5e-3`, `-0.5`: `-0.5`,
		`"a\tb\u00e9\x41"`: `"a\tbéA"`, `'abc'`: `"abc"`, `"\u{1F600}"`: `"😀"`,
		`~w(a b)`: `["a", "b"]`, `~w[a b]a`: `[:a, :b]`, `~s(a "b" (c))`: `"a \"b\" (c)"`, `~S|a#{b}|`: `"a#{b}"`,
		`{0, 0, 0, 0}`: `{0, 0, 0, 0}`, `[]`: `[]`, `{}`: `{}`,
		`[a: 1, b: [c: "x"],]`: `[a: 1, b: [c: "x"]]`, `[{:a, 1}]`: `[a: 1]`, `["a b": 1]`: `["a b": 1]`, `[1, a: 2]`: `[1, {:a, 2}]`,
		`{:erl, a: 1}`: `{:erl, [a: 1]}`, `%{a: 1}`: `%{a: 1}`, `%{"a" => [1]}`: `%{"a" => [1]}`, `%{1 => 2}`: `%{1 => 2}`,
		`:timer.seconds(5)`: `5000`, `:timer.minutes(2)`: `120000`, `(5)`: `5`,
		"[ # a comment\n  a: 1 # another\n]":          `[a: 1]`,
		"\"\"\"\n  one\n   two\n  \"\"\"":             `"one\n two\n"`,
		"~S'''\n  a\\n\n  '''":                        `"a\\n\n"`,
		`[a: {M, :f, []}, b: {:net_kernel, :c, [1]}]`: `[a: {M, :f, []}, b: {:net_kernel, :c, [1]}]`,
	} {
		v, err := Parse(src)
		require.NoError(t, err, src)
		require.Equal(t, want, v.String(), src)
		again, err := Parse(v.String())
		require.NoError(t, err, src)
		require.Equal(t, want, again.String(), src)
	}
}

// What is no literal is kept as its source, with the variable that it reads.
func TestCode(t *testing.T) {
	for src, env := range map[string]string{
		`System.get_env("POD_IP")`:                         "POD_IP",
		`System.fetch_env!("A") <> "x"`:                    "A",
		`System.get_env("A") || System.get_env("B")`:       "",
		`String.to_integer(System.get_env("PORT") || "4")`: "PORT",
		`"#{app_name}.internal"`:                           "",
		`"a #{"b #{c} }"} d"`:                              "",
		`app_name`:                                         "",
		`&Mod.fun/1`:                                       "",
		`fn a, b -> {a, b} end`:                            "",
		`if x do [1, 2] else [] end`:                       "",
		`1 + 2`:                                            "",
		`%Struct{a: 1}`:                                    "",
		`<<1, 2>>`:                                         "",
		`~r/a[b]/i`:                                        "",
		`[1] ++ [2]`:                                       "",
		`get.("X", "y")`:                                   "",
		`@attribute`:                                       "",
		`__MODULE__`:                                       "",
		`:"a#{b}"`:                                         "",
	} {
		v, err := Parse("[k: " + src + ", z: 1]")
		require.NoError(t, err, src)
		pairs, ok := v.Keyword()
		require.True(t, ok, src)
		require.Len(t, pairs, 2, src)
		require.Equal(t, Code, pairs[0].Value.Kind, src)
		require.Equal(t, src, pairs[0].Value.Text)
		require.Equal(t, env, pairs[0].Value.Env, src)
	}
}

func TestErrors(t *testing.T) {
	for src, want := range map[string]string{
		"[a: 1":                          `line 1, column 1: "[" is not closed`,
		"[\n  a: \"x]":                   `line 2, column 6: "\"" is not closed`,
		"[a: ]":                          `line 1, column 5: "]" where a value is expected`,
		"[a: 1 b: 2]":                    `line 1, column 7: a comma is missing before "b:"`,
		"{1, 2]":                         `line 1, column 6: "]" where "," or "}" is expected, for the "{" of line 1`,
		"99999999999999999999":           `line 1, column 1: "99999999999999999999" is not an integer of 64 bits`,
		"":                               `line 1, column 1: the end where a value is expected`,
		"[a: foo(1]":                     `line 1, column 10: "]" closes nothing that is open`,
		`"\u{zz}"`:                       `line 1, column 2: \uzz is not a character`,
		`"#{a"`:                          `is not closed`,
		"\"\"\"\nabc":                    `line 1, column 1: """ is not closed`,
		"1 \n 2":                         `line 2, column 2: "2" is not expected here`,
		strings.Repeat("[", 99):          `more than 64 brackets in one another`,
		"f(" + strings.Repeat("{", 99):   `more than 64 brackets in one another`,
		strings.Repeat(`"#{`, 99):        `more than 64 interpolations in one another`,
		strings.Repeat(" ", maxSource+1): `the source has 1048577 bytes; at most 1048576 are read`,
	} {
		_, err := Parse(src)
		require.ErrorContains(t, err, want, src)
		var e *Error
		require.ErrorAs(t, err, &e)
	}
}

// Bindings are found in whatever a file holds besides.
func TestFind(t *testing.T) {
	s, err := Read(`
import Config
if config_env() == :prod do
  host = System.get_env("PHX_HOST") || "example.com"
  config :shop, ShopWeb.Endpoint, url: [host: host], check: ~r/^[a-z"]+$/, c: ?"
  # config :libcluster, topologies: [no: []]
  config :libcluster,
    debug: true,
    topologies: [k8s: [strategy: Cluster.Strategy.Epmd]]
  config :libcluster, :topologies, [b: []]
end
topologies = [c: [strategy: X]]
children = [{Cluster.Supervisor, [topologies, [name: S]]}]
`)
	require.NoError(t, err)
	found, err := s.Find("topologies")
	require.NoError(t, err)
	var got []string
	for _, b := range found {
		got = append(got, b.App+" "+b.Value.String())
	}
	require.Equal(t, []string{"libcluster [k8s: [strategy: Cluster.Strategy.Epmd]]", "libcluster [b: []]", " [c: [strategy: X]]"}, got)
	require.Equal(t, Pos{9, 5}, found[0].Pos)
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{
		`config :libcluster, topologies: [a: [strategy: Cluster.Strategy.Gossip, config: [port: 45_892, if_addr: {0,0,0,0}]]]`,
		"\"\"\"\n a #{b}\n \"\"\"", `~w(a b)a ?\\ :"x" %{a => 1} fn -> 1 end`, `[a: System.get_env("X") || "y", b: &f/1]`, "\\", "~", "?", ":", "-", "'\\x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, src string) {
		s, err := Read(src)
		if err != nil {
			return
		}
		_, _ = s.Find("topologies")
		v, err := Parse(src)
		if err != nil || v.Kind == Code {
			return
		}
		_ = v.String()
		_, _ = v.Keyword()
	})
}
