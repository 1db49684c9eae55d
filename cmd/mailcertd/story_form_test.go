package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// A line about a step never reads like an order: it says "created" after the step, or "would create" before it.
func TestStoriesTellStepsInTheirForm(t *testing.T) {
	order := regexp.MustCompile(
		`(?m)^(answer|ask|change|create|delete|finish|install|issue|make|remove|repair|restore|start|tell)\b.*  \[[a-z-]+\]$`)
	done := regexp.MustCompile(`(?m)^(created|installed|issued|made) .*  \[[a-z-]+\]$`)
	stories, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range stories {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range order.FindAllString(string(text), -1) {
			t.Errorf("%s: %s", filepath.Base(name), line)
		}
		found += len(done.FindAllString(string(text), -1))
	}
	if found < 20 {
		t.Errorf("the stories have %d lines of steps that were done", found)
	}
}
