package docs

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The program on README's first screen compiles in an empty module and runs:
// two processes find each other and greet.
func TestReadmeProgram(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	_, program, ok := strings.Cut(string(readme), "```go\n")
	require.True(t, ok)
	program, _, ok = strings.Cut(program, "```")
	require.True(t, ok)
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	dir := t.TempDir()
	gomod, err := os.ReadFile("../go.mod")
	require.NoError(t, err)
	// The requirements of this module, so that nothing has to be looked up.
	mod := strings.Replace(string(gomod), "module github.com/maquis-go/maquis", "module example", 1) +
		"\nrequire github.com/maquis-go/maquis v0.0.0\nreplace github.com/maquis-go/maquis => " + root + "\n"
	gosum, err := os.ReadFile("../go.sum")
	require.NoError(t, err)
	for name, text := range map[string]string{"main.go": program, "go.mod": mod, "go.sum": string(gosum)} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	build := exec.Command("go", "build", "-mod=mod", "-o", "example", ".")
	build.Dir = dir
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)

	start := func(name string) *bufio.Scanner {
		cmd := exec.Command(filepath.Join(dir, "example"), name)
		pipe, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		return bufio.NewScanner(pipe)
	}
	a, b := start("a"), start("b")
	for _, s := range []*bufio.Scanner{a, b} {
		var said string
		for range 2 {
			require.True(t, s.Scan(), "the program ended early")
			said += s.Text() + "\n"
		}
		require.Contains(t, said, "this is a")
		require.Contains(t, said, "this is b")
	}
}
