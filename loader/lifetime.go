package loader

import (
	"io/fs"
	"sync/atomic"
)

// lifetime counts the users of something that can be closed while it is used.
// It is a counter and not a lock, so that users may nest and may close. Each
// user adds 2; the lowest bit says closed. Once that is set the count only
// falls, so it becomes exactly 1 once.
type lifetime struct{ state atomic.Int64 }

const closedBit, oneUser = 1, 2

// acquire adds a user, who must call release, or returns fs.ErrClosed.
func (l *lifetime) acquire() error {
	for {
		s := l.state.Load()
		if s&closedBit != 0 {
			return fs.ErrClosed
		}
		if l.state.CompareAndSwap(s, s+oneUser) {
			return nil
		}
	}
}

// release removes a user and reports whether it was the last of something
// closed, which the caller must then tear down.
func (l *lifetime) release() (last bool) { return l.state.Add(-oneUser) == closedBit }

// close keeps new users away and reports whether there is none left, as release does.
func (l *lifetime) close() (last bool) { return l.state.Or(closedBit) == 0 }

// share adds a user on behalf of one there is, even after closing.
func (l *lifetime) share() { l.state.Add(oneUser) }
