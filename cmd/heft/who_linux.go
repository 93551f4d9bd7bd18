package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// processes returns the other processes that map files of the model, which is
// mapped, and how many processes cannot be looked into.
func (l *listing) processes() (list []process, hidden int, err error) {
	files, err := l.mappings()
	if err != nil {
		return nil, 0, err
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, 0, err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		p, maps, err := look(pid, files)
		switch {
		case errors.Is(err, fs.ErrPermission):
			hidden++
		case err == nil && maps: // other errors: it has ended meanwhile
			list = append(list, p)
		}
	}
	return list, hidden, nil
}

// mappings returns the device and inode of each file of the model as the
// kernel writes them where it lists mappings, here those of this process. They
// can be others than stat(2) tells: on btrfs and overlayfs they are.
func (l *listing) mappings() (map[string]bool, error) {
	paths := make(map[string]bool)
	for _, f := range l.files {
		path, err := filepath.EvalSymlinks(f.path)
		if err == nil {
			path, err = filepath.Abs(path)
		}
		if err != nil {
			return nil, err
		}
		paths[strings.ReplaceAll(path, "\n", `\012`)] = true
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil, err
	}
	files := make(map[string]bool)
	for line := range bytes.Lines(maps) {
		if m, ok := parseMapping(line); ok && paths[m.path] {
			files[m.file] = true
		}
	}
	return files, nil
}

// look returns what a process pays for mapping any of the files, if it does.
func look(pid int, files map[string]bool) (p process, maps bool, err error) {
	dir := fmt.Sprintf("/proc/%d/", pid)
	text, err := os.ReadFile(dir + "maps")
	if err != nil {
		return p, false, err
	}
	for line := range bytes.Lines(text) {
		m, ok := parseMapping(line)
		maps = maps || ok && files[m.file]
	}
	if !maps {
		return p, false, nil
	}
	if text, err = os.ReadFile(dir + "smaps"); err != nil { // costs more: the kernel walks page tables
		return p, false, err
	}
	command, err := os.ReadFile(dir + "comm")
	p.PID, p.Command = pid, strings.TrimSpace(string(command))
	p.add(text, files)
	return p, true, err
}

// add adds up the mappings of files in the text of a smaps file, proc_pid_smaps(5).
func (p *process) add(smaps []byte, files map[string]bool) {
	mine := false
	for line := range bytes.Lines(smaps) {
		if m, ok := parseMapping(line); ok {
			mine = files[m.file]
			continue
		}
		var name string
		var kib int64
		if n, _ := fmt.Sscanf(string(line), "%s %d kB", &name, &kib); !mine || n < 2 {
			continue
		}
		switch name {
		case "Size:":
			p.Mapped += kib << 10
		case "Rss:":
			p.RSS += kib << 10
		case "Pss:":
			p.PSS += kib << 10
		case "Private_Clean:", "Private_Dirty:":
			p.Private += kib << 10
		}
	}
}

// mapping is a line of proc_pid_maps(5), or the first of a mapping in smaps.
type mapping struct{ file, path string } // file: device and inode

// parseMapping reads such a line:
//
//	7f5c00000000-7f5c40000000 r--s 00000000 fe:00 131077      /models/m.safetensors
func parseMapping(line []byte) (m mapping, ok bool) {
	fields := strings.SplitN(string(line), " ", 6)
	if len(fields) < 5 || !strings.Contains(fields[0], "-") {
		return m, false
	}
	m.file = fields[3] + " " + strings.TrimSuffix(fields[4], "\n")
	if len(fields) == 6 {
		m.path = strings.TrimLeft(strings.TrimSuffix(fields[5], "\n"), " ")
	}
	return m, true
}
