package durable

// Stat describes what path leads to and nothing of the entry itself: one
// stat(2), where Look needs one for every part of the path. Target and Resolved
// stay empty, and so does Kind, unless it is Unknown. Err is nil also where
// nothing is there.
func Stat(path string) Node {
	n := Node{Path: path}
	si, err := stat(path)
	if err != nil {
		if !absent(err) {
			n.Kind, n.Err = Unknown, err
		}
		return n
	}
	n.describe(si)
	return n
}
