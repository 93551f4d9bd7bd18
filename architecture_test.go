package heft_test

import (
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// mayImport lists what each package may import besides the standard library:
// packages of this module, and modules. What it does not list, cmd and examples
// above all, nobody may import.
var mayImport = map[string][]string{
	"heft/tensor": {"github.com/x448/float16"},
	"heft/format": {"heft/tensor"},
	"heft/loader": {"heft/format", "heft/tensor", "golang.org/x/sys", "golang.org/x/sync"},
	"heft/cmd/heft": {"heft/loader", "heft/format", "heft/tensor",
		"github.com/dustin/go-humanize", "github.com/rivo/uniseg", "github.com/schollz/progressbar/v3", "github.com/spf13/pflag", "golang.org/x/term"},
	"heft/examples/*": {"heft/loader", "heft/tensor"},
}

// core are the modules that using the library may bring along.
var core = []string{"github.com/x448/float16", "golang.org/x/sys", "golang.org/x/sync"}

// mayUseUnsafe lists the files of this module that import unsafe, tests aside. Each says at every use why it is safe.
var mayUseUnsafe = []string{
	"format/text_unsafe.go",
	"loader/mmap_unix.go",
	"loader/mmap_windows.go",
	"loader/paging_linux.go",
	"loader/retire.go",
	"tensor/cast_unsafe.go",
}

type goPackage struct {
	ImportPath string
	Standard   bool
	Imports    []string
	Module     *struct{ Path string }
}

func TestImports(t *testing.T) {
	for _, system := range []string{"linux/amd64", "linux/s390x", "darwin/arm64", "windows/amd64", "freebsd/amd64"} {
		for _, p := range goList(t, system, "./...") {
			if !strings.HasPrefix(p.ImportPath, "heft/") {
				continue
			}
			allowed, ok := mayImport[p.ImportPath]
			if !ok {
				allowed, ok = mayImport[path.Dir(p.ImportPath)+"/*"]
			}
			if !ok {
				t.Errorf("%s: nothing says what it may import", p.ImportPath)
			}
			for _, imported := range p.Imports {
				first, _, _ := strings.Cut(imported, "/")
				standard := first != "heft" && !strings.Contains(first, ".")
				if !standard && !slices.ContainsFunc(allowed, func(a string) bool { return imported == a || strings.HasPrefix(imported, a+"/") }) {
					t.Errorf("%s imports %s on %s", p.ImportPath, imported, system)
				}
			}
		}
		for _, p := range goList(t, system, "./tensor", "./format", "./loader") {
			if !p.Standard && p.Module.Path != "heft" && !slices.Contains(core, p.Module.Path) {
				t.Errorf("the library needs %s of %s on %s", p.ImportPath, p.Module.Path, system)
			}
		}
	}
}

// goList describes the packages and all that they depend on, on a system such as linux/amd64.
func goList(t *testing.T, system string, packages ...string) []goPackage {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-deps", "-json=ImportPath,Standard,Imports,Module"}, packages...)...)
	goos, goarch, _ := strings.Cut(system, "/")
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("there is no go command")
	}
	if err != nil {
		t.Fatal(err)
	}
	var all []goPackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := d.Decode(&p); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestUnsafe(t *testing.T) {
	var found []string
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if _, notFound := os.Stat(filepath.Join(name, "go.mod")); d.IsDir() && name != "." && notFound == nil {
			return fs.SkipDir // another module
		}
		if err != nil || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, i := range f.Imports {
			if i.Path.Value == `"unsafe"` {
				found = append(found, filepath.ToSlash(name))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(mayUseUnsafe, found); diff != "" {
		t.Errorf("files that import unsafe (-listed +found):\n%s", diff)
	}
}
