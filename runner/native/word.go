package native

import "sync/atomic"

// runningWord reads the futex that the kernel clears.
func (b *box) runningWord() int32 { return atomic.LoadInt32(&b.enc.shared.running) }
