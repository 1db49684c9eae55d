package ca

import (
	"os"
	"path/filepath"
	"time"
)

// index returns all rows of index.txt.
func (o Observed) index() []Entry {
	data, _ := os.ReadFile(filepath.Join(o.Dir.Path, indexName))
	rows, _ := parseIndex(data)
	return rows
}

// list returns the whole database in the order of Each.
func list(o Observed, now time.Time) (out []Listed, err error) {
	err = Each(o, now, func(l Listed) error {
		out = append(out, l)
		return nil
	})
	return out, err
}
