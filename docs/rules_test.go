package docs

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/maquis-go/maquis/"

// mayImport is the table of architecture.md: which of our packages a package
// may import. A trailing slash stands for all packages below.
var mayImport = table(`
messages:
overlay: messages
overlay/roster: overlay messages
overlay/fullmesh: overlay messages
overlay/overlaytest: overlay messages
overlay/hyparview: overlay messages
overlay/xbot: overlay messages overlay/hyparview
overlay/scamp: overlay messages
overlay/clientserver: overlay messages overlay/fullmesh
overlay/static: overlay messages overlay/fullmesh
overlay/plumtree: overlay messages
overlay/sim: overlay messages
overlay/sim/baseline: overlay messages overlay/sim
overlay/sim/paper: overlay/sim/scenario
overlay/sim/scenario: overlay overlay/ messages
internal/nearest:
internal/linkemu:
internal/linkemu/tun: internal/linkemu
internal/linkemu/run: internal/linkemu internal/linkemu/tun
internal/faultnet: actors channelmgr channelmgr/transport internal/linkemu internal/linkemu/tun
internal/faultnet/soak: internal/faultnet
channelmgr/frame: overlay messages
channelmgr/flow: overlay messages
channelmgr/circuit: overlay
channelmgr/causal:
channelmgr/catalog: messages
channelmgr/pacing:
channelmgr/transport:
channelmgr/handshake: overlay messages channelmgr/transport
channelmgr: overlay messages channelmgr/ internal/nearest
peerservice/route: overlay messages
peerservice/discovery:
peerservice/discovery/introduce: peerservice/discovery
peerservice/discovery/doctor: peerservice/discovery peerservice/discovery/introduce channelmgr/handshake channelmgr/transport messages
compat/libcluster: compat/libcluster/elixir internal/nearest peerservice/discovery peerservice/discovery/introduce
compat/libcluster/elixir:
peerservice: channelmgr channelmgr/ overlay overlay/ messages peerservice/
actors: compat/libcluster peerservice peerservice/ channelmgr channelmgr/ overlay overlay/ messages actors/
actors/config: internal/nearest
actors/watch: overlay
actors/group: overlay messages
actors/actorstest: actors channelmgr channelmgr/transport
cmd/demo: compat/libcluster peerservice/discovery actors actors/ messages channelmgr channelmgr/transport overlay overlay/sim/
docs:
`)

func table(text string) map[string][]string {
	m := make(map[string][]string)
	for line := range strings.Lines(strings.TrimSpace(text)) {
		name, imports, _ := strings.Cut(line, ":")
		m[name] = strings.Fields(imports)
	}
	return m
}

// pure are the packages that hold machines: no input or output, no clock, no
// goroutine, no lock.
var pure = []string{"overlay", "overlay/roster", "overlay/fullmesh", "overlay/hyparview", "overlay/xbot", "overlay/scamp",
	"overlay/clientserver", "overlay/static", "overlay/plumtree", "actors/watch", "actors/group", "channelmgr/flow", "channelmgr/causal", "channelmgr/circuit", "channelmgr/catalog", "channelmgr/frame", "channelmgr/pacing", "peerservice/route", "internal/linkemu"}

type pkg struct {
	ImportPath, Dir, Doc string
	Imports              []string
	GoFiles              []string
	Deps                 []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Doc,Imports,GoFiles,Deps", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	require.NoError(t, err)
	var list []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); err == io.EOF {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
}

// Nobody imports whom it may not.
func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		allowed, known := mayImport[name]
		if !known {
			t.Errorf("%s is not in the table of who may import whom; add it here and in architecture.md", name)
		}
		for _, imp := range p.Imports {
			ours, is := strings.CutPrefix(imp, module)
			if is && !slices.ContainsFunc(allowed, func(a string) bool {
				return a == ours || strings.HasSuffix(a, "/") && strings.HasPrefix(ours, a)
			}) {
				t.Errorf("%s imports %s, which it may not", name, ours)
			}
		}
		for _, dep := range p.Deps {
			if strings.HasPrefix(dep, "github.com/asynkron/protoactor-go/remote") || strings.HasPrefix(dep, "github.com/asynkron/protoactor-go/cluster") {
				t.Errorf("%s depends on %s: gRPC, etcd and consul come with it", name, dep)
			}
			if name == "actors" && (dep == module+"cmd/demo") {
				t.Errorf("%s imports a command", name)
			}
		}
	}
}

// The core pulls in the modules listed in dependencies.txt and no others.
func TestModules(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "./actors", "./peerservice/...", "./channelmgr/...", "./overlay/...", "./messages")
	cmd.Dir = ".."
	out, err := cmd.Output()
	require.NoError(t, err)
	got := strings.Fields(string(out))
	slices.Sort(got)
	got = slices.Compact(got)
	want, err := os.ReadFile("dependencies.txt")
	require.NoError(t, err)
	require.Equal(t, strings.Fields(string(want)), got, "a module was added or dropped: is it worth what it brings? Then say so in dependencies.txt")
}

var forbiddenImports = []string{"os", "net", "sync", "sync/atomic", "log", "log/slog", "context", "crypto/rand", "math/rand", "runtime", "io", "github.com/asynkron/"}

// Pure packages touch no clock, goroutine, channel, lock, socket or logger.
func TestPurity(t *testing.T) {
	for _, p := range packages(t) {
		if !slices.Contains(pure, strings.TrimPrefix(p.ImportPath, module)) {
			continue
		}
		for _, imp := range p.Imports {
			for _, f := range forbiddenImports {
				if imp == f || strings.HasSuffix(f, "/") && strings.HasPrefix(imp, f) {
					t.Errorf("%s imports %s, but is pure", p.ImportPath, imp)
				}
			}
		}
		for _, name := range p.GoFiles {
			if strings.HasSuffix(name, ".pb.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, 0)
			require.NoError(t, err)
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.GoStmt, *ast.ChanType, *ast.SelectStmt, *ast.SendStmt:
					t.Errorf("%s/%s starts a goroutine or uses a channel, but is pure", p.ImportPath, name)
				case *ast.SelectorExpr:
					x, ok := n.X.(*ast.Ident)
					if !ok {
						break
					}
					if x.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "NewTimer", "NewTicker", "Tick"}, n.Sel.Name) {
						t.Errorf("%s/%s uses time.%s, but is pure", p.ImportPath, name, n.Sel.Name)
					}
					if x.Name == "rand" && slices.Contains([]string{"Int", "IntN", "N", "Float64", "Perm", "Shuffle", "Uint64", "Int64N"}, n.Sel.Name) && x.Obj == nil {
						t.Errorf("%s/%s uses the global rand.%s, but is pure", p.ImportPath, name, n.Sel.Name)
					}
				}
				return true
			})
		}
	}
}

// Every package and every exported name says what it is.
func TestDocumented(t *testing.T) {
	for _, p := range packages(t) {
		if p.Doc == "" {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
		for _, name := range p.GoFiles {
			if strings.HasSuffix(name, ".pb.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ParseComments)
			require.NoError(t, err)
			for _, d := range file.Decls {
				undocumented(t, p.ImportPath+"/"+name, d)
			}
		}
	}
}

func undocumented(t *testing.T, where string, d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv != nil && !exportedReceiver(d.Recv.List[0].Type) {
			return
		}
		// Methods that a well-known interface asks for explain themselves.
		known := []string{"Error", "Unwrap", "String", "Name", "Network", "Accept", "Addr", "LocalAddr", "RemoteAddr", "SetDeadline", "SetReadDeadline", "SetWriteDeadline", "Read", "Write", "Close", "Len", "Less", "Swap"}
		if d.Name.IsExported() && d.Doc == nil && !(d.Recv != nil && slices.Contains(known, d.Name.Name)) {
			t.Errorf("%s: %s has no comment", where, d.Name.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
					t.Errorf("%s: type %s has no comment", where, s.Name.Name)
				}
			case *ast.ValueSpec:
				for _, n := range s.Names {
					if n.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
						t.Errorf("%s: %s has no comment", where, n.Name)
					}
				}
			}
		}
	}
}

func exportedReceiver(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.StarExpr:
		return exportedReceiver(x.X)
	case *ast.IndexExpr:
		return exportedReceiver(x.X)
	case *ast.Ident:
		return x.IsExported()
	}
	return false
}

// A file has one idea: past 500 lines there is a second one in it.
func TestFileSize(t *testing.T) {
	for _, p := range packages(t) {
		for _, name := range p.GoFiles {
			if strings.HasSuffix(name, ".pb.go") {
				continue
			}
			b, err := os.ReadFile(filepath.Join(p.Dir, name))
			require.NoError(t, err)
			if n := bytes.Count(b, []byte("\n")); n > 500 {
				t.Errorf("%s/%s has %d lines", p.ImportPath, name, n)
			}
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)#]+)(#[^)]*)?\)`)

// Links between documents lead somewhere.
func TestLinks(t *testing.T) {
	var files []string
	for _, pattern := range []string{"../*.md", "*.md", "*/*.md", "../cmd/*/*.md"} {
		m, err := filepath.Glob(pattern)
		require.NoError(t, err)
		files = append(files, m...)
	}
	require.NotEmpty(t, files)
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		for _, m := range link.FindAllStringSubmatch(string(b), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(f), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", f, m[1])
			}
		}
	}
}
