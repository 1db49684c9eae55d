package ca

// comparison finds which serials occur in more than one row of index.txt, and which certificates in newcerts have a
// row, while one pass reads the rows. Both look up places in memory that the processor has to wait for, so a goroutine
// of its own does it beside the parsing: with a million rows and two processors, a pass takes a quarter less time.
type comparison struct {
	files *keySet // the serials in newcerts, marked where a row has them
	rows  *sieve
	twice []hash // hashes that the sieve may have seen twice

	batch      []hash // of the last rows, which nobody has compared yet
	full, free chan []hash
	done       chan struct{} // closed when the goroutine has ended; nil: it was not started
}

// manyHashes is how many serials are handed over at once, and fewHashes how many are looked up at once.
const (
	manyHashes = 4096
	fewHashes  = 256
)

// newComparison is for the names in newcerts, and an index.txt of that many octets.
func newComparison(files *keySet, octets int64) *comparison {
	return &comparison{files: files, rows: newSieve(octets), batch: make([]hash, 0, fewHashes)}
}

// add adds the hash of a row's serial.
func (c *comparison) add(h hash) {
	if c.batch = append(c.batch, h); len(c.batch) == cap(c.batch) {
		c.hand()
	}
}

// hand compares the first, small batch itself, because most databases have no second one. It hands the others over to
// the goroutine.
func (c *comparison) hand() {
	if cap(c.batch) < manyHashes {
		c.compare(c.batch)
		c.batch = make([]hash, 0, manyHashes)
		return
	}
	if c.done == nil {
		c.full, c.free, c.done = make(chan []hash), make(chan []hash, 1), make(chan struct{})
		c.free <- make([]hash, 0, manyHashes)
		go c.run()
	}
	c.full <- c.batch
	c.batch = <-c.free
}

// run compares the batches that are handed over, until finish closes the channel.
func (c *comparison) run() {
	defer close(c.done)
	for batch := range c.full {
		c.compare(batch)
		c.free <- batch[:0]
	}
}

func (c *comparison) compare(batch []hash) {
	for len(batch) > 0 {
		some := batch[:min(fewHashes, len(batch))]
		batch = batch[len(some):]
		c.twice = c.rows.sift(some, c.twice)
		c.files.mark(some...)
	}
}

// finish waits for the goroutine, and compares what is left. Only then may the results be used.
func (c *comparison) finish() {
	if c.done != nil {
		close(c.full)
		<-c.done
		c.done = nil
	}
	c.compare(c.batch)
	c.batch = c.batch[:0]
}
