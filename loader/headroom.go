package loader

// Headroom returns how many bytes of memory the process can still have, the
// file cache that the kernel can reclaim included: what the kernel calls
// available, or less where a control group leaves less, be it that of the
// process or one around it. A model that is larger does not stay in the page
// cache: [Model.Stream] is for such. The error is errors.ErrUnsupported where
// the platform does not tell.
func Headroom() (int64, error) { return headroom() }
