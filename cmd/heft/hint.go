package main

import "iter"

// closest returns the candidate that word was probably meant to be: the first
// of those that the fewest edits lead to, if few enough for a slip of the
// fingers (a third of the word, at most three).
func closest(word string, candidates iter.Seq[string]) (string, bool) {
	best, found := "", false
	limit := max(1, min(3, len(word)/3))
	for c := range candidates {
		if d := edits(word, c, limit); d <= limit {
			best, found, limit = c, true, d-1
		}
		if limit < 0 {
			break
		}
	}
	return best, found
}

// edits returns the number of bytes to insert, delete, replace or swap with
// their neighbour in order to turn a into b, or limit+1 if it is more than limit.
func edits(a, b string, limit int) int {
	for a != "" && b != "" && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for a != "" && b != "" && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	if max(len(a)-len(b), len(b)-len(a)) > limit {
		return limit + 1
	}
	// Row i holds the distances from a[:i] to the beginnings of b.
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		row, above, above2 := rows[i%3], rows[(i+2)%3], rows[(i+1)%3]
		row[0] = i
		least := i
		for j := 1; j <= len(b); j++ {
			d := min(above[j], row[j-1]) + 1
			if a[i-1] == b[j-1] {
				d = min(d, above[j-1])
			} else {
				d = min(d, above[j-1]+1)
			}
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, above2[j-2]+1)
			}
			row[j] = d
			least = min(least, d)
		}
		if least > limit {
			return limit + 1
		}
	}
	return min(rows[len(a)%3][len(b)], limit+1)
}
