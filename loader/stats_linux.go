package loader

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// measure sets what /proc/self/smaps and getrusage(2) know. Without mappings it
// does not look at the former.
func (m *Model) measure(s *Stats) error {
	now := countFaults()
	s.MinorFaults, s.MajorFaults = now.minor-m.record.faults.minor, now.major-m.record.faults.major
	mapped := false
	for _, f := range m.files {
		mapped = mapped || f.data != nil
	}
	if !mapped {
		return nil
	}
	smaps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return m.fail("stats", err)
	}
	defer smaps.Close()
	mine := false
	for lines := bufio.NewScanner(smaps); ; {
		if !lines.Scan() {
			return lines.Err()
		}
		key, rest, _ := bytes.Cut(lines.Bytes(), []byte(" "))
		if field, ok := bytes.CutSuffix(key, []byte(":")); !ok {
			mine = m.owns(key)
		} else if mine {
			s.add(string(field), rest)
		}
	}
}

// owns reports whether a mapping, "address-address" in hexadecimal, is one of the model's.
func (m *Model) owns(addresses []byte) bool {
	var lo, hi uint64
	if _, err := fmt.Sscanf(string(addresses), "%x-%x", &lo, &hi); err != nil {
		return false
	}
	for _, f := range m.files {
		if at := lo - uint64(f.addr); f.data != nil && at < uint64(len(f.data)) {
			return true
		}
	}
	return false
}

// add adds a line of smaps: "Rss:    4 kB".
func (s *Stats) add(field string, value []byte) {
	n, err := strconv.ParseInt(string(bytes.TrimSuffix(bytes.TrimSpace(value), []byte(" kB"))), 10, 64)
	if err != nil {
		return // a field of words
	}
	n <<= 10
	switch field {
	case "Size":
		s.Mapped += n
	case "Rss":
		s.MappedIn += n
		s.Shared += n
	case "FilePmdMapped", "ShmemPmdMapped":
		s.Huge += n
	case "Anonymous":
		s.Private += n
		s.Shared -= n
	case "Locked":
		s.Locked += n
	}
}

func countFaults() faults {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return faults{}
	}
	return faults{int64(u.Minflt), int64(u.Majflt)}
}
