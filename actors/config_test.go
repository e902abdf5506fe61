package actors_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/actors/config"
	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/channelmgr/handshake"
)

func writeFile(t *testing.T, path, text string) string {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// fromFile starts a node from a cluster file.
func fromFile(t *testing.T, path string, opts ...maquis.Option) (*maquis.Distribution, error) {
	t.Helper()
	system := quietSystem()
	d, err := maquis.Start(context.Background(), system, append([]maquis.Option{maquis.WithLogger(slog.New(slog.DiscardHandler)), maquis.WithConfigFile(path)}, opts...)...)
	t.Cleanup(func() {
		if d != nil {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			_ = d.Stop(ctx)
		}
		system.Shutdown()
	})
	return d, err
}

// Two nodes that are described by files form a cluster, with the overlay, the
// channels and the tags of the files.
func TestFromFiles(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "secret"), secret+"\n")
	const common = `
profile: test
cluster: shop
security: {secrets: ["file:secret"]}
failure: {heartbeat: 200ms, silent_after: 2s}
overlays: [{kind: hyparview, config: {active_size: 4, arwl: 5}}]
channels: [{name: bulk, lanes: 2, priority: low}]
`
	a, err := fromFile(t, writeFile(t, filepath.Join(dir, "a.yaml"), common+"node: {name: a, tags: {zone: eu}}\n"))
	require.NoError(t, err)
	b, err := fromFile(t, writeFile(t, filepath.Join(dir, "b.yaml"), common+"node: {name: b, version: 1.10}\njoin: {expected_members: 2, seeds: [\""+a.Self().Addrs[0]+"\"]}\n"))
	require.NoError(t, err)
	for _, d := range []*maquis.Distribution{a, b} {
		require.NoError(t, d.WaitForMembers(ctxFor(t, 20*time.Second), 2))
	}
	require.Equal(t, []string{"a", "b"}, b.NodeList())
	m, ok := b.Member("a")
	require.True(t, ok)
	require.Equal(t, map[string]string{"zone": "eu"}, m.Tags)
	require.Equal(t, "1.10", b.Self().Version)
	require.True(t, b.Health().Ready)
	var bulk maquis.ChannelSpec
	for _, s := range b.Channels() {
		if s.Name == "bulk" {
			bulk = s
		}
	}
	require.Equal(t, 2, bulk.Lanes)
	require.Equal(t, channelmgr.Low, bulk.Priority)
	origin, ok := b.Config().Origin("overlays.main.config.arwl")
	require.True(t, ok)
	require.Equal(t, filepath.Join(dir, "b.yaml")+":6", origin.String())
}

// Nothing is started from a file with an error, and all that is wrong is told:
// by the schema and by what this version can do.
func TestBadFileStartsNothing(t *testing.T) {
	path := writeFile(t, filepath.Join(t.TempDir(), "maquis.yaml"), `
profile: test
clustr: shop
overlays:
  - {id: "a/b", kind: hyparview}
channels:
  - {name: control}
`)
	d, err := fromFile(t, path, maquis.WithSecret(secret))
	require.Nil(t, d)
	var ce *config.Error
	require.ErrorAs(t, err, &ce)
	require.Equal(t, strings.ReplaceAll(strings.TrimSpace(`
maquis.yaml:3: clustr: unknown key; did you mean cluster?
maquis.yaml:5: overlays.a/b: overlay id "a/b": use up to 64 bytes without spaces and '/', and not "roster"
maquis.yaml:7: channels.control: the name is reserved for the runtime; choose another
`), "maquis.yaml", path), ce.Error())

	_, err = fromFile(t, "/no/such/maquis.yaml", maquis.WithSecret(secret))
	require.EqualError(t, err, "/no/such/maquis.yaml: the file cannot be read: no such file or directory")
}

// The defaults that the configuration states are those of the runtime, and its
// words stand for the runtime's values.
func TestDefaultsAgree(t *testing.T) {
	c, err := maquis.Configuration(maquis.WithSecret(secret))
	require.NoError(t, err)
	timing, limits := channelmgr.DefaultTiming(), channelmgr.DefaultLimits()
	require.Equal(t, config.Failure{Preset: "lan", Heartbeat: timing.Heartbeat, SilentAfter: timing.SilentAfter}, c.Failure)
	require.Equal(t, config.Links{
		DialTimeout: timing.DialTimeout, HandshakeTimeout: timing.HandshakeTimeout, WriteTimeout: timing.WriteTimeout,
		BackoffMin: timing.BackoffMin, BackoffMax: timing.BackoffMax, IdleAfter: timing.IdleAfter,
	}, c.Links)
	require.Equal(t, config.Limits{
		MaxMessage: limits.MaxMessage, MaxHandshakes: limits.MaxHandshakes, MaxLinksPerPeer: limits.MaxLinksPerPeer, MaxConnections: limits.MaxConnections, ControlBacklog: limits.ControlBacklog,
		MaxAssembly: limits.MaxAssembly, DictionarySize: limits.DictionarySize, ReservedQueueLen: limits.ReservedQueueLen,
	}, c.Limits)
	_, port, err := net.SplitHostPort(c.Node.Listen)
	require.NoError(t, err)
	require.Equal(t, maquis.DefaultPort, port)
	require.ElementsMatch(t, maquis.OverlayKinds(), config.Kinds)
	for _, p := range config.Policies {
		_, err := channelmgr.ParsePolicy(p)
		require.NoError(t, err)
	}
	for i, m := range config.SecurityModes {
		require.Equal(t, m, handshake.Mode(i+1).String())
	}
}

// The profiles are what the documentation says.
func TestProfiles(t *testing.T) {
	origin := func(c *config.Config, path string) string {
		o, _ := c.Origin(path)
		return o.String()
	}
	c, err := maquis.Configuration(maquis.WithProfile("dev"))
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:6278-6287", c.Node.Listen)
	require.Equal(t, "profile dev", origin(c, "security.secrets"))
	require.Equal(t, []config.Overlay{{ID: "main", Kind: "fullmesh"}}, c.Overlays)

	// Wherever the profile stands in the list, other options go over it.
	c, err = maquis.Configuration(maquis.WithListen("127.0.0.1:7000"), maquis.WithSecret(secret), maquis.WithProfile("dev"))
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:7000 code", c.Node.Listen+" "+origin(c, "node.listen"))

	_, err = maquis.Configuration(maquis.WithProfile("test"))
	require.ErrorContains(t, err, "links are not secured")

	_, err = maquis.Configuration(maquis.WithProfile("prod"), maquis.WithInsecure(), maquis.WithListen("127.0.0.1:0"))
	require.ErrorContains(t, err, "profile prod does not allow insecure links")
	require.ErrorContains(t, err, "profile prod needs seeds or discovery")
	c, err = maquis.Configuration(maquis.WithProfile("prod"), maquis.WithSecret(secret), maquis.WithSeeds("a:6278"))
	require.NoError(t, err)
	require.Equal(t, []config.Overlay{{ID: "main", Kind: "hyparview"}}, c.Overlays)

	_, err = maquis.Configuration(maquis.WithProfile("stage"))
	require.ErrorContains(t, err, `profile "stage": use dev, test or prod`)
	_, err = maquis.Configuration(maquis.WithSecret(secret), maquis.WithChannels(maquis.ChannelSpec{Name: "x"}, maquis.ChannelSpec{Name: "x"}))
	require.ErrorContains(t, err, `names "x" twice`)
}

// The environment goes over code.
func TestEnvironmentOverCode(t *testing.T) {
	t.Setenv("MAQUIS_NODE__NAME", "from-env")
	n := startNode(t, "from-code")
	require.Equal(t, "from-env", n.Self().Name)
}

// The examples of the documentation are what a node can be.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../docs/examples/*.yaml")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 4)
	for _, f := range files {
		c, err := config.Load(config.Sources{File: f, SkipSecrets: true})
		require.NoError(t, err, f)
		require.NoError(t, maquis.CheckConfiguration(c), f)
	}
}

const reloadFile = `
profile: test
node: {name: a, tags: {zone: eu}}
security: {secrets: ["file:secret"]}
join: {expected_members: 1}
`

// A reload changes what can change, names what takes a restart, and changes
// nothing when anything is wrong.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "secret"), secret)
	path := writeFile(t, filepath.Join(dir, "maquis.yaml"), reloadFile)
	a, err := fromFile(t, path)
	require.NoError(t, err)
	ctx := ctxFor(t, 10*time.Second)
	restart, err := a.Reload(ctx)
	require.NoError(t, err)
	require.Empty(t, restart, "nothing has changed")

	b := startNode(t, "b")
	writeFile(t, path, `
profile: test
node: {name: a, tags: {zone: us}}
security: {secrets: ["file:secret"]}
join: {expected_members: 2, seeds: ["`+b.addr()+`"]}
cluster: maquis
failure: {preset: lan}
channels: [{name: bulk}]
channel_rules: [{min_size: 64KiB, channel: bulk}]
`)
	restart, err = a.Reload(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"failure.preset"}, restart)
	require.Len(t, a.Channels(), 2)
	require.NoError(t, a.WaitForMembers(ctxFor(t, 20*time.Second), 2))
	require.Equal(t, map[string]string{"zone": "us"}, a.Self().Tags)
	require.Equal(t, 2, a.Health().Expected)
	again, err := a.Reload(ctx)
	require.NoError(t, err)
	require.Equal(t, restart, again, "what takes a restart is told until then")
	require.Equal(t, "local", a.Config().Failure.Preset)

	// Another rule.
	b2, err := os.ReadFile(path)
	require.NoError(t, err)
	writeFile(t, path, strings.ReplaceAll(string(b2), "channel: bulk", "channel: data"))
	restart, err = a.Reload(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"failure.preset"}, restart)

	// Another secret: new links need it.
	const other = "quite another secret, long enough"
	writeFile(t, filepath.Join(dir, "secret"), other)
	_, err = a.Reload(ctx)
	require.NoError(t, err)
	c := startNode(t, "c", maquis.WithSecret(other), maquis.WithSeeds(a.Self().Addrs[0]))
	require.Eventually(t, func() bool { m, ok := a.Member("c"); return ok && m.Status == maquis.Alive }, 20*time.Second, 5*time.Millisecond)
	require.NotNil(t, c)

	// Wrong in one place: nothing changes in any.
	before := a.Config()
	writeFile(t, path, strings.Replace(reloadFile, "zone: eu", "zone: nowhere", 1)+"clustr: x\n")
	_, err = a.Reload(ctx)
	require.ErrorContains(t, err, path+":6: clustr: unknown key; did you mean cluster?")
	writeFile(t, path, strings.Replace(reloadFile, "zone: eu", "zone: "+strings.Repeat("x", 2000), 1))
	_, err = a.Reload(ctx)
	require.ErrorContains(t, err, "nothing was changed")
	require.Equal(t, map[string]string{"zone": "us"}, a.Self().Tags)
	require.Same(t, before, a.Config())
	require.NoError(t, os.Remove(path))
	_, err = a.Reload(ctx)
	require.ErrorContains(t, err, "the file cannot be read")

	// A seed may go.
	writeFile(t, path, reloadFile)
	restart, err = a.Reload(ctx)
	require.NoError(t, err)
	require.Empty(t, restart)
	require.Equal(t, 1, a.Health().Expected)

	require.NoError(t, a.Stop(ctx))
	_, err = a.Reload(ctx)
	require.ErrorIs(t, err, maquis.ErrStopped)
}

// Many reloads leave nothing behind.
func TestReloadLoop(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "secret"), secret)
	path := writeFile(t, filepath.Join(dir, "maquis.yaml"), reloadFile)
	a, err := fromFile(t, path)
	require.NoError(t, err)
	ctx := context.Background()
	round := func(i int) {
		zone := []string{"eu", "us", "ap"}[i%3]
		writeFile(t, path, strings.Replace(reloadFile, "zone: eu", "zone: "+zone, 1)+[]string{"", "", "clustr: x\n"}[i%3])
		writeFile(t, filepath.Join(dir, "secret"), secret+zone)
		_, err := a.Reload(ctx)
		require.Equal(t, i%3 == 2, err != nil)
	}
	for i := range 30 {
		round(i)
	}
	measure := func() (int, uint64) {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return runtime.NumGoroutine(), m.HeapAlloc
	}
	goroutines, heap := measure()
	for i := range 600 {
		round(i)
	}
	g, h := measure()
	require.LessOrEqual(t, g, goroutines+2)
	require.Less(t, int64(h)-int64(heap), int64(1<<20), "a reload leaves something behind")
}

// The preset wan brings patient links, under what is said elsewhere.
func TestPresetWan(t *testing.T) {
	c, err := maquis.Configuration(maquis.WithSecret(secret), maquis.WithFailurePreset("wan"), maquis.WithTiming(channelmgr.Timing{DialTimeout: 4 * time.Second}))
	require.NoError(t, err)
	require.Equal(t, config.Failure{Preset: "wan", Heartbeat: 2 * time.Second, SilentAfter: 15 * time.Second}, c.Failure)
	require.Equal(t, []time.Duration{4 * time.Second, 15 * time.Second}, []time.Duration{c.Links.DialTimeout, c.Links.HandshakeTimeout})
}

// Channels and limits of a file change in the running node, and only there; a
// promise does not.
func TestReloadChannels(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "secret"), secret)
	path := writeFile(t, filepath.Join(dir, "maquis.yaml"), reloadFile)
	a, err := fromFile(t, path)
	require.NoError(t, err)
	b := startNode(t, "b", maquis.WithSeeds(a.Self().Addrs[0]))
	require.NoError(t, a.WaitForMembers(ctxFor(t, 20*time.Second), 2))
	events := b.Events(ctxFor(t, time.Minute))
	ctx := ctxFor(t, time.Minute)
	reload := func(more string, restart ...string) {
		t.Helper()
		writeFile(t, path, reloadFile+more)
		got, err := a.Reload(ctx)
		require.NoError(t, err)
		require.ElementsMatch(t, restart, got)
	}
	_, err = b.system.Root.SpawnNamed(echo(), "echo")
	require.NoError(t, err)
	call := func(text string, opts ...maquis.SendOption) error {
		_, err := maquis.Call[*wrapperspb.StringValue](ctx, a, a.PID("b", "echo"), wrapperspb.String(text), opts...)
		return err
	}
	require.ErrorIs(t, call("x", maquis.WithChannel("bulk")), maquis.ErrUnknownChannel)
	reload("channels: [{name: bulk, lanes: 2}, {name: data, lanes: 3}]\nchannel_rules: [{min_size: 1KiB, channel: bulk}]\nlimits: {max_message: 4KiB}\n")
	require.NoError(t, call("x", maquis.WithChannel("bulk")))
	require.NoError(t, call(strings.Repeat("x", 2000)))
	require.ErrorIs(t, call(strings.Repeat("x", 5000)), maquis.ErrTooLarge)
	for e := range events {
		if d, ok := e.(*maquis.ChannelDrift); ok {
			require.Equal(t, "data", d.Ours.Name, "bulk, which b does not have, is no contradiction")
			require.Equal(t, 3, d.Theirs.Lanes)
			break
		}
	}
	require.Len(t, b.Channels(), 1)
	reload("channels: [{name: bulk, lanes: 2, delivery: at_least_once}]\n", "channels", "channel_rules") // they are changed together
	spec, _ := specNamed(a, "bulk")
	require.Equal(t, maquis.AtMostOnce, spec.Delivery)

	require.NoError(t, b.SetChannel(ctx, maquis.ChannelSpec{Name: "bulk", Lanes: 4})) // of the cluster: above all files
	require.Eventually(t, func() bool { spec, _ := specNamed(a, "bulk"); return spec.Lanes == 4 }, 20*time.Second, time.Millisecond)
	reload("channels: [{name: bulk, lanes: 1}]\n")
	spec, _ = specNamed(a, "bulk")
	require.Equal(t, 4, spec.Lanes)
	require.NoError(t, b.RemoveChannel(ctx, "bulk"))
	reload("limits: {max_handshakes: 7}\n", "limits.max_handshakes")
	require.Eventually(t, func() bool { return errors.Is(call("x", maquis.WithChannel("bulk")), maquis.ErrUnknownChannel) }, 20*time.Second, time.Millisecond)
	require.NoError(t, call(strings.Repeat("x", 5000)))
}
