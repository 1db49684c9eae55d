// Command tally reads `go test -json` and prints one line for each package,
// the output of every failed test, every skipped test with its reason, and
// the numbers.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

type event struct {
	Action, Package, Test, Output string
	ImportPath                    string
	Elapsed                       float64
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 16<<20)
	output := map[string]*strings.Builder{}
	var passed, failed, skipped int
	for in.Scan() {
		var e event
		if err := json.Unmarshal(in.Bytes(), &e); err != nil {
			fmt.Println(in.Text()) // the go command's own words
			continue
		}
		key := e.Package + e.ImportPath + " " + e.Test
		if output[key] == nil {
			output[key] = &strings.Builder{}
		}
		switch e.Action {
		case "output", "build-output":
			output[key].WriteString(e.Output)
		case "build-fail":
			fmt.Printf("FAIL  %s\n%s", e.ImportPath, output[key])
			failed++
		case "pass", "fail", "skip":
			switch {
			case e.Test == "" && e.Action == "fail":
				fmt.Printf("FAIL  %s\n%s", e.Package, output[key])
				failed++
			case e.Test == "" && e.Action == "pass":
				fmt.Printf("ok    %s (%.1f s)\n", e.Package, e.Elapsed)
			case e.Test == "":
			case e.Action == "pass":
				passed++
			case e.Action == "fail":
				failed++
				fmt.Printf("FAIL  %s %s\n%s", e.Package, e.Test, output[key])
			default:
				skipped++
				fmt.Printf("skip  %s %s: %s\n", e.Package, e.Test, reason(output[key].String()))
			}
			delete(output, key)
		}
	}
	fmt.Printf("tally %d %d %d\n", passed, failed, skipped)
	if in.Err() != nil {
		fmt.Println(in.Err())
		os.Exit(1)
	}
}

// reason is the line that t.Skip printed.
func reason(output string) string {
	for _, line := range strings.Split(output, "\n") {
		if _, text, ok := strings.Cut(line, ".go:"); ok {
			_, text, _ = strings.Cut(text, ": ")
			return text
		}
	}
	return "no reason given"
}
