package main

import "fmt"

// A process is one that maps files of a model. Sizes are in bytes.
type process struct {
	PID     int    `json:"pid"`
	Command string `json:"command"`
	Mapped  int64  `json:"mapped"`  // address space
	RSS     int64  `json:"rss"`     // of it, in memory
	PSS     int64  `json:"pss"`     // its share of that: a page that n processes map counts for 1/n
	Private int64  `json:"private"` // what it maps alone
}

// someOf returns a few words about processes, of which there is at least one.
func someOf(list []process) string {
	s := fmt.Sprintf("%s (%d)", list[0].Command, list[0].PID)
	if len(list) > 1 {
		s += fmt.Sprintf(" and %d more", len(list)-1)
	}
	return s
}
