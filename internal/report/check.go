package report

import "mailcertd/internal/plan"

// Check is `check --json`, version 1. Times are UTC, RFC 3339.
type Check struct {
	Version  int            `json:"version"`
	Problems []plan.Problem `json:"problems"`
	Actions  []plan.Action  `json:"actions"` // what ensure would do, in order
}

// NonNil returns an empty list for nil, because JSON must have [] and not null.
func NonNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
