//go:build !386 && !arm && !mips && !mipsle

package loader

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"heft/format"
)

// The fault suite. Each scenario makes a model, lets something go wrong with its
// files at some moment of its use, and holds what the library says against what
// it promises:
//
//   - It never crashes, and says what is wrong in a typed error that names the
//     file, and for a fault in data the tensor and the offset.
//   - Where Guard and Changed both returned nil, and Sync too where the mode is
//     ReadWrite, no byte was wrong: what was written is there, to be seen in the
//     file where it belongs and not where it does not.
//   - An error of Sync stays.
//   - After Close no goroutine, descriptor or mapping is left, once hanging
//     reads have been answered.
//
// A scenario follows from the seed and its number alone.
const (
	faultScenarios = 1040             // of a run; HEFT_FAULTS says otherwise
	faultBatch     = 40               // scenarios in a process and on a file system of their own
	faultPatience  = 20 * time.Second // after which something hangs that should not
)

// faultPlan is what a child is told.
type faultPlan struct {
	Seed     uint64
	From, To int
	Fuse     string // the top of a faultFS
	Local    string // a directory on a disk
	Heft     string // the command
}

// What can go wrong.
const (
	kindNothing = iota
	kindTruncate
	kindRegrow
	kindRewrite
	kindGrow
	kindReplace
	kindDelete
	kindEIO
	kindDelay
	kindHang
	kindPause
	kindBadWrites
	kindCut
	kindCutRegrow
	kindRewriteUnseen
	kindDirect
	kindVanish
)

var faultKinds = [...]struct {
	name   string
	weight int  // how often it is chosen
	fuse   bool // it needs a faultFS
}{
	kindNothing:       {"nothing", 1, false},
	kindTruncate:      {"truncate", 4, false},
	kindRegrow:        {"truncate and regrow", 2, false},
	kindRewrite:       {"rewrite", 2, false},
	kindGrow:          {"grow", 1, false},
	kindReplace:       {"replace", 1, false},
	kindDelete:        {"delete", 1, false},
	kindEIO:           {"EIO", 8, true},
	kindDelay:         {"delay", 2, true},
	kindHang:          {"hang", 3, true},
	kindPause:         {"hang for a while", 3, true},
	kindBadWrites:     {"EIO on writing", 4, true},
	kindCut:           {"truncate at the server", 4, true},
	kindCutRegrow:     {"truncate and regrow at the server", 3, true},
	kindRewriteUnseen: {"rewrite at the server", 2, true},
	kindDirect:        {"direct I/O", 1, true},
	kindVanish:        {"vanish", 0, true}, // the last scenario of each batch: nothing works afterwards
}

// pickKind chooses what goes wrong on a disk or a faultFS.
func pickKind(r *rand.Rand, fuse bool) int {
	var bag []int
	for kind, k := range faultKinds {
		if fuse || !k.fuse {
			bag = append(bag, slices.Repeat([]int{kind}, k.weight)...)
		}
	}
	return bag[r.IntN(len(bag))]
}

var momentNames = [...]string{"before Open", "before the first touch", "during Prefetch", "during Guards", "during Stream", "with the command"}

const (
	beforeOpen = iota
	beforeTouch
	duringPrefetch
	duringGuards
	duringStream
	withCommand
	moments
)

// scenario is one of them while it runs.
type scenario struct {
	faultPlan
	n      int
	r      *rand.Rand
	fuse   bool
	kind   int
	moment int
	mode   Mode
	read   bool // the Read backend
	dir    string
	out    string              // a directory for what the command writes
	files  []string            // their paths
	want   map[string]*content // by the name of the tensor
	mu     sync.Mutex
	wrongs []string       // promises broken
	counts map[string]int // what came of it
	failed error          // of the first Sync that did
}

// content is what a tensor should hold.
type content struct {
	path  string
	begin int // in the file
	data  []byte
}

func (s *scenario) String() string {
	on := "disk"
	if s.fuse {
		on = "FUSE"
	}
	if s.moment != withCommand {
		on += fmt.Sprintf(", %v", s.mode)
	}
	if s.read {
		on += ", read"
	}
	return fmt.Sprintf("scenario %d: %s %s, on %s", s.n, faultKinds[s.kind].name, momentNames[s.moment], on)
}

// broken notes that a promise was not kept.
func (s *scenario) broken(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrongs = append(s.wrongs, fmt.Sprintf(format, args...))
}

func init() {
	children["faults"] = func(arg string) {
		var p faultPlan
		must(json.Unmarshal([]byte(arg), &p))
		for n := p.From; n < p.To; n++ {
			s := newScenario(p, n)
			fmt.Println("begin", s)
			s.run()
			s.leaks()
			for _, w := range s.wrongs {
				fmt.Println("broken", s, "\n\t", strings.ReplaceAll(w, "\n", "\n\t"))
			}
			for what, n := range s.counts {
				fmt.Println("count", n, what)
			}
		}
		fmt.Println("done")
	}
}

func newScenario(p faultPlan, n int) *scenario {
	r := rand.New(rand.NewPCG(p.Seed, uint64(n)))
	s := &scenario{faultPlan: p, n: n, r: r, want: map[string]*content{}, counts: map[string]int{}}
	s.fuse = r.IntN(3) > 0
	s.moment = r.IntN(moments)
	s.kind = pickKind(r, s.fuse)
	if s.moment == withCommand && r.IntN(3) == 0 { // what the verbs notice by Changed alone
		s.kind = []int{kindRegrow, kindRewrite, kindCutRegrow, kindRewriteUnseen}[r.IntN(4)]
		s.fuse = s.fuse || faultKinds[s.kind].fuse
	}
	if n%faultBatch == faultBatch-1 {
		s.fuse, s.kind = true, kindVanish
	}
	if s.kind == kindHang && s.moment != duringStream {
		s.moment = duringPrefetch // a raw touch that hangs stops the process
	}
	switch r.IntN(6) {
	case 0:
		s.read = true
	case 1:
		s.mode = CopyOnWrite
	case 2, 3:
		s.mode = ReadWrite
	}
	switch s.kind {
	case kindDirect:
		s.read, s.mode = false, ReadOnly
	case kindBadWrites:
		s.read, s.mode, s.moment = false, ReadWrite, min(s.moment, duringStream)
	}
	s.dir = filepath.Join(map[bool]string{false: p.Local, true: p.Fuse}[s.fuse], fmt.Sprint("s", n))
	s.out = filepath.Join(p.Local, fmt.Sprint("o", n))
	return s
}

// rand returns numbers for a goroutine of its own.
func (s *scenario) rand(i int) *rand.Rand {
	return rand.New(rand.NewPCG(s.Seed+uint64(i), uint64(s.n)))
}

// make writes the model: one to three files with a few tensors each.
func (s *scenario) make() {
	must(os.Mkdir(s.dir, 0o755))
	for i := range 1 + s.r.IntN(3) {
		path := filepath.Join(s.dir, fmt.Sprint(i, ".safetensors"))
		s.files = append(s.files, path)
		var ts []tens
		for j := range 1 + s.r.IntN(5) {
			size := s.r.IntN(1 << (8 + s.r.IntN(14)))
			if s.r.IntN(80) == 0 {
				size = 9 << 20
			}
			ts = append(ts, tens{fmt.Sprintf("%c.%d", 'a'+i, j), size})
		}
		file := encode(nil, ts...)
		must(os.WriteFile(path, file, 0o644))
		at := len(file)
		for _, x := range slices.Backward(ts) {
			at -= x.n
			s.want[x.name] = &content{path, at, file[at:][:x.n:x.n]}
		}
	}
	if s.kind == kindDirect {
		s.behave(faultMode{Direct: true})
	}
}

// behave makes all files behave so.
func (s *scenario) behave(m faultMode) {
	for _, path := range s.files {
		s.command(path, faultCommand{Mode: &m})
	}
}

func (s *scenario) command(path string, c faultCommand) {
	c.File, _ = filepath.Rel(s.Fuse, path)
	must(ctl(s.Fuse, c))
}

// spoil does what is to go wrong to one of the files.
func (s *scenario) spoil() {
	path := s.files[s.r.IntN(len(s.files))]
	fi, err := os.Stat(path)
	must(err)
	size := fi.Size()
	lo := s.r.Int64N(size)
	hi := lo + 1 + s.r.Int64N(size-lo)
	switch s.kind {
	case kindTruncate:
		must(os.Truncate(path, lo))
	case kindRegrow:
		must(errors.Join(os.Truncate(path, lo), os.Truncate(path, size)))
	case kindGrow:
		must(os.Truncate(path, size+hi))
	case kindRewrite:
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		must(err)
		_, err = f.WriteAt(bytes.Repeat([]byte{0xa5}, int(hi-lo)), lo)
		must(errors.Join(err, f.Close()))
	case kindReplace:
		must(errors.Join(os.WriteFile(path+".new", make([]byte, size), 0o644), os.Rename(path+".new", path)))
	case kindDelete:
		must(os.Remove(path))
	case kindEIO:
		s.command(path, faultCommand{Mode: &faultMode{BadLo: lo, BadHi: hi}})
	case kindDelay:
		s.command(path, faultCommand{Mode: &faultMode{Delay: time.Duration(1+s.r.IntN(5)) * time.Millisecond}})
	case kindHang:
		s.behave(faultMode{Hang: true})
	case kindPause:
		s.behave(faultMode{Hang: true, Until: time.Duration(20+s.r.IntN(100)) * time.Millisecond})
	case kindBadWrites:
		s.behave(faultMode{BadWrites: true})
	case kindCut, kindCutRegrow:
		s.command(path, faultCommand{Do: "cut", Lo: lo, Grow: s.kind == kindCutRegrow})
	case kindRewriteUnseen:
		s.command(path, faultCommand{Do: "rewrite", Lo: lo, Hi: hi})
	case kindVanish:
		unix.Unmount(s.Fuse, unix.MNT_FORCE) // which ends the connection, even where it cannot unmount
	}
}

// rewritten reports whether what was opened was other than what was written, or
// became so without anything that Changed looks at.
func (s *scenario) rewritten() bool {
	switch s.kind {
	case kindRegrow, kindCutRegrow, kindRewrite, kindRewriteUnseen:
		return s.moment == beforeOpen || s.mode == ReadWrite
	case kindCut:
		return s.mode == ReadWrite // writing out what is behind the end makes the file longer again
	}
	return false
}

// harmless reports whether no call may fail but, with ReadWrite, Sync.
func (s *scenario) harmless() bool {
	switch s.kind {
	case kindNothing, kindDelay, kindPause, kindDirect, kindBadWrites:
		return true
	}
	return false
}

func (s *scenario) run() {
	s.make()
	if s.moment == withCommand {
		s.verbs()
		return
	}
	if s.moment == beforeOpen {
		s.spoil()
	}
	opts := []Option{WithMode(s.mode)}
	if s.read {
		opts = append(opts, WithBackend(BackendRead))
	}
	m, err := Open(s.dir, opts...)
	if err != nil {
		s.judge("Open", err)
		return
	}
	s.use(m)
	began := time.Now()
	if err := m.Close(); err != s.failed || time.Since(began) > faultPatience {
		s.broken("Close: %v, after %v", err, time.Since(began))
	}
	if s.fuse && s.kind != kindVanish && s.kind != kindDelete {
		s.behave(faultMode{})
	}
	for end := time.Now().Add(faultPatience); m.lifetime.state.Load() != closedBit; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			s.broken("the model still has users: state %d", m.lifetime.state.Load())
			return
		}
	}
	s.settled(m)
}

// settled looks at what is in the files in the end.
func (s *scenario) settled(m *Model) {
	switch s.kind {
	case kindNothing, kindEIO, kindDelay, kindHang, kindPause, kindDirect, kindBadWrites:
	default:
		return // others have written there
	}
	for _, path := range s.files {
		f, err := os.Open(path)
		must(err)
		unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) // what has not been written out stays
		b, err := io.ReadAll(f)
		must(errors.Join(err, f.Close()))
		var ts []tens
		for _, file := range m.files {
			for _, e := range file.header.Tensors {
				if file.path == path {
					ts = append(ts, tens{e.Name, int(e.Size())})
				}
			}
		}
		want := encode(nil, ts...)
		for _, x := range s.want {
			if s.mode != ReadWrite || x.path != path {
			} else if s.kind != kindBadWrites || s.failed == nil {
				copy(want[x.begin:], x.data)
			} else if len(b) == len(want) {
				copy(want[x.begin:], b[x.begin:][:len(x.data)]) // what was written is there or not; the header is
			}
		}
		if i := firstDifference(b, want); i >= 0 {
			s.broken("%s: of %d bytes, of which %d should be there, number %d is wrong", path, len(b), len(want), i)
		}
	}
}

// firstDifference returns the place of the first byte in which a and b differ, or -1.
func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	if len(a) != len(b) {
		return min(len(a), len(b))
	}
	return -1
}

// use is what a program does with a model, while things go wrong.
func (s *scenario) use(m *Model) {
	all, err := m.Module("")
	must(err)
	r := s.rand(0)
	if s.mode != ReadOnly && s.moment > beforeOpen && r.IntN(2) == 0 {
		s.look(m, all, r) // so that something is written
	}
	if s.moment == beforeTouch {
		s.spoil()
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	wait := time.Duration(s.r.IntN(2000)) * time.Microsecond
	switch {
	case s.kind == kindHang:
		s.spoil()
		wg.Go(func() { time.Sleep(wait); cancel() }) // only giving up helps
	case s.moment >= duringPrefetch:
		wg.Go(func() { time.Sleep(wait); s.spoil() })
	}
	switch s.moment {
	case beforeTouch, duringPrefetch:
		began := time.Now()
		s.judge("Prefetch", all.Prefetch(ctx))
		if d := time.Since(began); d > faultPatience {
			s.broken("Prefetch returns after %v", d)
		}
	case duringGuards:
		var guards sync.WaitGroup
		for i, part := range s.parts(m, all) {
			r := s.rand(1 + i)
			guards.Go(func() {
				s.look(m, part, r)
				s.exercise(m, part, r)
				s.look(m, part, r)
			})
		}
		guards.Wait()
	case duringStream:
		var regions []*Region
		for _, prefix := range []string{"a.", "b.", "c."} {
			r, err := m.Module(prefix)
			must(err)
			regions = append(regions, r)
		}
		for part, err := range m.Stream(ctx, StreamOptions{Window: 1 << 20, Evict: EvictAlways}, regions...) {
			s.judge("Stream", err)
			if err == nil && s.kind != kindHang {
				s.look(m, part, r)
			}
		}
	}
	wg.Wait()
	if s.kind == kindHang {
		return
	}
	s.look(m, all, r)
	s.exercise(m, all, r)
	s.look(m, all, r)
	s.sync(m, m.Sync)
}

// parts returns the regions for four goroutines. Where they write, each has its own tensors.
func (s *scenario) parts(m *Model, all *Region) []*Region {
	if s.mode == ReadOnly {
		return []*Region{all, all, all, all}
	}
	var names [4][]string
	for i, t := range all.tensors {
		names[i%4] = append(names[i%4], t.entry.Name)
	}
	var parts []*Region
	for _, n := range names {
		r, err := m.Region(n...)
		must(err)
		parts = append(parts, r)
	}
	return parts
}

// exercise calls some of what can be called.
func (s *scenario) exercise(m *Model, r *Region, rnd *rand.Rand) {
	for range rnd.IntN(5) {
		switch rnd.IntN(8) {
		case 0:
			s.judge("Prefetch", r.Prefetch(context.Background()))
		case 1:
			_, err := r.Evict()
			s.refused("Evict", err, s.mode == CopyOnWrite)
		case 2:
			err := r.Pin()
			s.refused("Pin", err, s.mode == CopyOnWrite)
			if err == nil {
				s.judge("Unpin", r.Unpin())
			}
		case 3:
			a := Advice(rnd.IntN(int(Cold) + 1))
			err := r.Advise(a)
			pinned := a == Cold && errors.Is(err, errors.ErrUnsupported) // some of it
			s.refused("Advise", err, pinned)
		case 4:
			_, err := r.Resident()
			s.judge("Resident", err)
		case 5:
			_, err := m.Stats()
			s.judge("Stats", err)
		case 6:
			s.sync(m, r.Sync)
		case 7:
			for _, err := range m.Stream(context.Background(), StreamOptions{Evict: EvictAlways}, r) {
				s.judge("Stream", err)
			}
		}
	}
}

// refused judges an error of a call that the mode, or the Read backend, may not support.
func (s *scenario) refused(op string, err error, refused bool) {
	reads := s.read || s.kind == kindDirect
	if refused || reads && op != "Evict" {
		if !errors.Is(err, errors.ErrUnsupported) {
			s.broken("%s: %v, though it is not supported", op, err)
		}
		return
	}
	s.judge(op, err)
}

// sync calls a Sync. If it fails, so must all others.
func (s *scenario) sync(m *Model, sync func() error) error {
	err := sync()
	s.judge("Sync", err)
	if err != nil {
		s.mu.Lock()
		s.failed = err
		s.mu.Unlock()
		if again := m.Sync(); again != err {
			s.broken("Sync: %v, and then %v", err, again)
		}
	}
	return err
}

// look compares a region with what it should hold: inside a Guard, and then asks
// Changed. Where it may, it writes then.
func (s *scenario) look(m *Model, r *Region, rnd *rand.Rand) {
	wrong := ""
	guard := m.Guard(func() error {
		for x, err := range r.All() {
			if err != nil {
				return err
			}
			b, want := x.Bytes(), s.want[x.Name()].data
			if len(b) != len(want) {
				wrong = fmt.Sprintf("%q has %d bytes", x.Name(), len(b))
				continue
			}
			for i, got := range b { // not bytes.Equal: preemption would begin a slow fault in assembly again and again
				if got != want[i] {
					wrong = fmt.Sprintf("%q: byte %d is %d, want %d", x.Name(), i, got, want[i])
					break
				}
			}
			if s.mode != ReadOnly {
				scribble(b, want, rnd)
			}
		}
		return nil
	})
	changed := m.Changed()
	s.judge("Guard", guard)
	s.judge("Changed", changed)
	if wrong != "" && guard == nil && changed == nil && !s.rewritten() && s.sync(m, m.Sync) == nil {
		s.broken("wrong bytes: %s", wrong)
	}
}

// scribble writes to a view here and there, and to want what is there in the
// view then, even if writing faults.
func scribble(b, want []byte, rnd *rand.Rand) {
	if len(b) == 0 {
		return
	}
	for range 1 + rnd.IntN(3) {
		v, lo := byte(rnd.Uint32()), rnd.IntN(len(b))
		hi := min(len(b), lo+rnd.IntN(10_000))
		for i := lo; i < hi; i++ {
			b[i] = v
			want[i] = v
		}
	}
}

// judge holds an error against what is promised of errors.
func (s *scenario) judge(op string, err error) {
	s.mu.Lock()
	what := op + ": nil"
	switch {
	case errors.Is(err, ErrChanged):
		what = op + ": ErrChanged"
	case err != nil:
		what = fmt.Sprintf("%s: %T", op, err)
	}
	s.counts[what]++
	s.mu.Unlock()
	var fault *FaultError
	var path *fs.PathError
	var bad *format.Error
	switch {
	case err == nil:
	case s.harmless() && !(s.kind == kindBadWrites && op == "Sync"):
		s.broken("%s: %v, though nothing went wrong", op, err)
	case errors.Is(err, context.Canceled):
		if s.kind != kindHang {
			s.broken("%s: %v", op, err)
		}
	case errors.As(err, &fault):
		if _, named := s.want[fault.Tensor]; !named || !slices.Contains(s.files, fault.Path) || fault.Offset <= 0 || fault.Err == nil {
			s.broken("%s: %v does not say where", op, err)
		}
		for _, fact := range []string{fault.Path, strconv.Quote(fault.Tensor), strconv.FormatInt(fault.Offset, 10)} {
			if !strings.Contains(err.Error(), fact) {
				s.broken("%s: %v does not say %s", op, err, fact)
			}
		}
	case errors.As(err, &path):
		var errno syscall.Errno
		known := errors.Is(err, ErrChanged) || errors.Is(err, fs.ErrNotExist) || errors.As(err, &bad) || errors.As(err, &errno)
		if !known || path.Path != s.dir && !slices.Contains(s.files, path.Path) {
			s.broken("%s: %v (%T) is no error of the promised kinds", op, err, path.Err)
		}
	default:
		s.broken("%s: %v (%T) is no error of the promised kinds", op, err, err)
	}
}

// verbs runs the command on the model. It goes wrong during one of them.
func (s *scenario) verbs() {
	must(os.Mkdir(s.out, 0o755))
	before := map[string]string{}
	for name, x := range s.want {
		before[name] = sumOf(x.data)
	}
	verbs := []string{"inspect", "check", "sum", "warm", "cache", "evict", "repack", "bench", "tree", "meta"}
	spoiled := []string{"sum", "sum", "repack", "repack", "warm", "bench", "check"}[s.r.IntN(7)]
	for _, i := range s.r.Perm(len(verbs)) {
		verb := verbs[i]
		if verb != spoiled && s.r.IntN(4) > 0 {
			continue
		}
		args := []string{verb, s.dir}
		switch {
		case verb == "bench":
			args = append(args, "--runs=1")
		case verb == "repack" && s.r.IntN(2) == 0:
			args = append(args, "--output="+filepath.Join(s.out, "new"), "--shard-size=500K")
		case verb == "repack":
			args = append(args, "--output="+filepath.Join(s.out, "new.safetensors"))
		}
		wait := time.Duration(s.r.IntN(6000)) * time.Microsecond
		if slow := s.r.IntN(2) == 0; verb == spoiled && s.fuse && slow { // so that it happens while the verb reads
			s.behave(faultMode{Delay: 4 * time.Millisecond})
			wait *= 5
		}
		var wg sync.WaitGroup
		if verb == spoiled {
			wg.Go(func() { time.Sleep(wait); s.spoil() })
		}
		out, err := exec.Command(s.Heft, args...).CombinedOutput()
		wg.Wait()
		var exit *exec.ExitError
		status := 0
		if errors.As(err, &exit) {
			status = exit.ExitCode()
		} else {
			must(err)
		}
		s.counts[fmt.Sprintf("heft %s: %d", verb, status)]++
		if status < 0 || status > 2 || bytes.Contains(out, []byte("goroutine ")) || status == 2 && !bytes.Contains(out, []byte(s.dir)) {
			s.broken("heft %s: %v\n%s", verb, err, out)
		}
		if mapped := verb == "warm" || verb == "cache" || verb == "evict" || verb == "bench"; s.harmless() && !(mapped && s.kind == kindDirect) && (status == 2 || status == 1 && !mapped && verb != "meta") {
			s.broken("heft %s: %v, though nothing went wrong\n%s", verb, err, out)
		}
		var got map[string]string
		switch verb {
		case "sum":
			got = map[string]string{}
			for line := range strings.Lines(string(out)) {
				sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
				got[name] = sum
			}
		case "repack":
			got = s.written(status == 0)
		default:
			continue
		}
		if status != 0 || maps.Equal(got, before) {
			continue
		}
		if now, err := sumsIn(s.dir); err != nil || !maps.Equal(got, now) { // unless that was opened when it had gone wrong
			s.broken("heft %s: wrong bytes, exit status 0\n%v\nbefore %v\nnow %v %v", verb, got, before, now, err)
		}
	}
}

// written returns the sums of what repack has written, which must be all or nothing.
func (s *scenario) written(done bool) (sums map[string]string) {
	var files []string
	must(filepath.WalkDir(s.out, func(path string, _ fs.DirEntry, err error) error {
		files = append(files, filepath.Base(path))
		return err
	}))
	files = files[1:]
	if done == (len(files) == 0) || slices.ContainsFunc(files, func(name string) bool { return name[0] == '.' }) {
		s.broken("repack leaves %q", files)
	}
	if !done {
		return nil
	}
	dir := s.out
	if files[0] == "new" {
		dir = filepath.Join(dir, "new")
	}
	sums, err := sumsIn(dir)
	if err != nil {
		s.broken("repack: %v", err)
	}
	return sums
}

// sumsIn returns what heft sum should say of a directory of files.
func sumsIn(dir string) (map[string]string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.safetensors"))
	sums := map[string]string{}
	for _, path := range paths {
		b, rerr := os.ReadFile(path)
		h, herr := format.Read(bytes.NewReader(b), int64(len(b)))
		if err = errors.Join(err, rerr, herr); err != nil {
			return nil, err
		}
		for _, e := range h.Tensors {
			sums[e.Name] = sumOf(b[e.Begin:e.End])
		}
	}
	return sums, err
}

// sumOf returns the sum of a tensor of bytes as heft sum computes it.
func sumOf(data []byte) string {
	return fmt.Sprintf("%x", sha256.Sum256(append(fmt.Appendf(nil, "U8[%d]\n", len(data)), data...)))
}

// leaks looks for what a scenario left behind.
func (s *scenario) leaks() {
	left := func() string {
		if n := runtime.NumGoroutine(); n > 1 {
			stacks := make([]byte, 1<<16)
			return fmt.Sprintf("%d goroutines\n%s", n, stacks[:runtime.Stack(stacks, true)])
		}
		fds, err := os.ReadDir("/proc/self/fd")
		must(err)
		for _, fd := range fds {
			if path, _ := os.Readlink("/proc/self/fd/" + fd.Name()); strings.HasPrefix(path, s.dir) {
				return "a descriptor of " + path
			}
		}
		maps, err := os.ReadFile("/proc/self/maps")
		must(err)
		if bytes.Contains(maps, []byte(s.dir+"/")) {
			return "a mapping"
		}
		return ""
	}
	for end := time.Now().Add(faultPatience); left() != ""; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			s.broken("left behind: %s", left())
			return
		}
	}
	if s.kind != kindVanish {
		must(os.RemoveAll(s.dir))
	}
	must(os.RemoveAll(s.out))
}

func TestFaults(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if v := os.Getenv("HEFT_FAULT_SEED"); v != "" {
		var err error
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	most := faultScenarios
	if n, err := strconv.Atoi(os.Getenv("HEFT_FAULTS")); err == nil {
		most = n
	}
	t.Logf("HEFT_FAULT_SEED=%d", seed)
	heft := filepath.Join(t.TempDir(), "heft")
	if out, err := exec.Command("go", "build", "-o", heft, "heft/cmd/heft").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	counts := map[string]int{}
	scenarios := 0
	for from := 0; from < most; from += faultBatch {
		top, server := mountFaults(t)
		defer time.AfterFunc(2*time.Minute, server.release).Stop() // should something hang after all
		p := faultPlan{Seed: seed, From: from, To: from + faultBatch, Fuse: top, Local: t.TempDir(), Heft: heft}
		for p.From < p.To {
			arg, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			out, err := runChild(t, "faults", string(arg))
			began := ""
			for lines := bufio.NewScanner(strings.NewReader(out)); lines.Scan(); {
				word, rest, _ := strings.Cut(lines.Text(), " ")
				switch word {
				case "begin":
					began = rest
					p.From++
					scenarios++
				case "count":
					var n int
					what := ""
					n, what = cutCount(rest)
					counts[what] += n
				case "done":
				default: // a broken promise, or a crash
					t.Error(lines.Text())
				}
			}
			if err != nil {
				t.Errorf("%s: %v", began, err)
			}
			if began == "" {
				t.Fatal("no scenario ran")
			}
		}
	}
	t.Logf("%d scenarios: %v", scenarios, counts)
	// A suite in which nothing goes wrong shows nothing.
	for _, what := range []string{"Guard: nil", "Guard: *loader.FaultError", "Changed: nil", "Changed: ErrChanged", "Open: *fs.PathError",
		"Prefetch: nil", "Prefetch: *loader.FaultError", "Stream: nil", "Stream: *loader.FaultError", "Sync: nil", "Sync: *fs.PathError",
		"heft sum: 0", "heft sum: 2", "heft repack: 0", "heft repack: 2", "heft warm: 0", "heft warm: 2"} {
		if counts[what] < scenarios/500 {
			t.Errorf("only %d times %s", counts[what], what)
		}
	}
}

func cutCount(line string) (n int, what string) {
	first, what, _ := strings.Cut(line, " ")
	n, _ = strconv.Atoi(first)
	return n, what
}

func init() {
	children["sync fails"] = func(path string) {
		top := filepath.Dir(path)
		m, err := Open(path, WithMode(ReadWrite))
		must(err)
		a, err := m.Tensor("a")
		must(err)
		r, err := m.Region("a")
		must(err)
		a.Bytes()[0] = 'x'
		fmt.Println(m.Sync())
		must(ctl(top, faultCommand{File: "m.safetensors", Mode: &faultMode{BadWrites: true}}))
		a.Bytes()[1] = 'x'
		fmt.Println(r.Sync())
		must(ctl(top, faultCommand{File: "m.safetensors", Mode: &faultMode{}}))
		a.Bytes()[2] = 'x'
		fmt.Println(m.Sync())
		fmt.Println(r.Sync())
		fmt.Println(m.Close())
		fmt.Println(m.Close())
	}
	children["write and be killed"] = func(arg string) {
		path, sync := strings.CutSuffix(arg, " sync")
		m, err := Open(path, WithMode(ReadWrite))
		must(err)
		a, err := m.Tensor("a")
		must(err)
		a.Bytes()[0] = 'x'
		if sync {
			must(m.Sync())
		}
		fmt.Println("written")
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	children["close while it hangs"] = func(path string) {
		path, written := strings.CutSuffix(path, " written")
		var opts []Option
		if written {
			opts = append(opts, WithMode(ReadWrite))
		}
		m, err := Open(path, opts...)
		must(err)
		a, err := m.Tensor("a")
		must(err)
		if written {
			a.Bytes()[0] = 'x'
		}
		must(ctl(filepath.Dir(path), faultCommand{File: "m.safetensors", Mode: &faultMode{Hang: true}}))
		began := time.Now()
		_, err = m.Stats()
		must(err)
		must(m.Close())
		fmt.Println("waited:", time.Since(began) > faultPatience/2)
		fmt.Println("faults:", crashes(func() { sink = a.Bytes()[5] }))
		must(ctl(filepath.Dir(path), faultCommand{File: "m.safetensors", Mode: &faultMode{}})) // the end of the process waits, too
	}
}

// onFaults puts a model on a faultFS and returns its path.
func onFaults(t *testing.T, ts ...tens) (path string, top *faultFS) {
	dir, top := mountFaults(t)
	path = filepath.Join(dir, "m.safetensors")
	f, err := os.Create(path)
	if err == nil {
		_, err = f.Write(encode(nil, ts...))
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return path, top
}

// The kernel tells once that it could not write: all later calls must say it too.
func TestFaultSyncSticky(t *testing.T) {
	path, _ := onFaults(t, tens{"a", 100_000})
	out, err := runChild(t, "sync fails", path)
	const ok = "<nil>\n"
	if want := ok + strings.Repeat("sync "+path+": input/output error\n", 5); err != nil || out != want {
		t.Errorf("%v:\n%swant\n%s", err, out, want)
	}
}

// A file system that forgets what was not synced keeps what was.
func TestFaultForgets(t *testing.T) {
	for _, sync := range []string{"", " sync"} {
		path, top := onFaults(t, tens{"a", 100_000})
		if out, err := runChild(t, "write and be killed", path+sync); err == nil || out != "written\n" {
			t.Fatalf("%v: %s", err, out)
		}
		top.mu.Lock()
		f := top.files["m.safetensors"]
		kept := f.synced[len(f.synced)-100_000] == 'x'
		top.mu.Unlock()
		if kept != (sync != "") {
			t.Errorf("after %q it keeps the write: %v", "written"+sync, kept)
		}
	}
}

// Close waits for nobody, even where closing a file does, and unmapping one that
// was written to; nor does asking what is resident.
func TestFaultCloseHangs(t *testing.T) {
	for _, written := range []string{"", " written"} {
		path, top := onFaults(t, tens{"a", 100_000})
		defer time.AfterFunc(faultPatience, top.release).Stop()
		if out, err := runChild(t, "close while it hangs", path+written); err != nil || out != "waited: false\nfaults: true\n" {
			t.Errorf("%q: %v: %s", written, err, out)
		}
	}
}
