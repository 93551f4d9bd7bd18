// Workers serves one model from several processes, as programs do that must
// survive a crash. All map the same file, so that the model is in memory once.
// It shows what each process pays, and how soon one that was killed is back.
//
//	workers [-n N] MODEL
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"heft/loader"
)

// socket is the environment variable that tells a worker where to answer.
const socket = "WORKERS_SOCKET"

func main() {
	n := flag.Int("n", 4, "how many workers")
	flag.Parse()
	if flag.NArg() != 1 {
		log.Fatal("usage: workers [-n N] MODEL")
	}
	model := flag.Arg(0)
	var err error
	if address := os.Getenv(socket); address != "" {
		err = serve(address, model)
	} else {
		err = run(os.Stdout, *n, model)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// serve opens the model and answers each line with a checksum of all weights.
func serve(address, model string) error {
	m, err := loader.Open(model)
	if err != nil {
		return err
	}
	defer m.Close()
	conn, err := net.Dial("unix", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		sum := uint32(0)
		err := m.Guard(func() error {
			for t, err := range m.All() {
				if err != nil {
					return err
				}
				sum = crc32.Update(sum, crc32.IEEETable, t.Bytes())
			}
			return nil
		})
		if err := errors.Join(err, m.Changed()); err != nil {
			return err // better no answer than a wrong one
		}
		fmt.Fprintf(conn, "%08x\n", sum)
	}
	return nil
}

// worker is a process that answers.
type worker struct {
	cmd  *exec.Cmd
	conn net.Conn
}

// start starts a worker and waits until it calls.
func start(l *net.UnixListener, model string) (*worker, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe, model)
	cmd.Env = append(os.Environ(), socket+"="+l.Addr().String())
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	l.SetDeadline(time.Now().Add(10 * time.Second))
	conn, err := l.Accept()
	if err != nil {
		cmd.Process.Kill()
		return nil, errors.Join(err, cmd.Wait())
	}
	return &worker{cmd, conn}, nil
}

// stop ends a worker, as a crash would.
func (w *worker) stop() {
	w.conn.Close()
	w.cmd.Process.Kill()
	w.cmd.Wait()
}

// ask returns the worker's answer.
func (w *worker) ask() (string, error) {
	if _, err := fmt.Fprintln(w.conn, "sum"); err != nil {
		return "", err
	}
	answer, err := bufio.NewReader(w.conn).ReadString('\n')
	return strings.TrimSpace(answer), err
}

// pays returns what a process pays for memory, in bytes: its share of what it
// shares, and what it has alone. Only Linux tells.
func (w *worker) pays() (pss, private int64) {
	smaps, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", w.cmd.Process.Pid))
	if err != nil {
		return 0, 0
	}
	defer smaps.Close()
	for lines := bufio.NewScanner(smaps); lines.Scan(); {
		var field string
		var kib int64
		fmt.Sscan(lines.Text(), &field, &kib)
		switch field {
		case "Pss:":
			pss = kib << 10
		case "Private_Clean:", "Private_Dirty:":
			private += kib << 10
		}
	}
	return pss, private
}

func run(out io.Writer, n int, model string) error {
	dir, err := os.MkdirTemp("", "workers")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "socket"), Net: "unix"})
	if err != nil {
		return err
	}
	defer l.Close()
	workers := make([]*worker, n)
	answers := make([]string, n)
	for i := range workers {
		if workers[i], err = start(l, model); err != nil {
			return err
		}
		defer func() { workers[i].stop() }()
		if answers[i], err = workers[i].ask(); err != nil {
			return err
		}
	}
	var total int64
	for i, w := range workers { // now that all have touched all weights
		pss, private := w.pays()
		total += pss
		fmt.Fprintf(out, "worker %d: answer %s, PSS %.1f MiB, private %.1f MiB\n", i, answers[i], mib(pss), mib(private))
	}
	size, err := sizeOf(model)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "all %d: %.1f MiB; the weights are %.1f MiB, %d copies of them %.1f MiB\n", n, mib(total), mib(size), n, mib(size*int64(n)))

	workers[0].stop()
	began := time.Now()
	w, err := start(l, model)
	if err != nil {
		return err
	}
	workers[0] = w
	ready := time.Since(began)
	again, err := w.ask()
	fmt.Fprintf(out, "worker 0 was killed and is back after %.1f ms, answer %s\n", ready.Seconds()*1000, again)
	return err
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// sizeOf returns the number of bytes of the weights.
func sizeOf(model string) (int64, error) {
	m, err := loader.Open(model)
	if err != nil {
		return 0, err
	}
	defer m.Close()
	all, err := m.Module("")
	return all.Size(), err
}
