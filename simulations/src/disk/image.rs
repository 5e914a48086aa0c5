//! The bytes of a disk in pages that images share.

use std::sync::Arc;

/// The unit of sharing and of allocation, in bytes.
pub(super) const PAGE_BYTES: usize = 4096;

pub(super) type Page = [u8; PAGE_BYTES];

/// A sparse array of bytes; what was never written is zero.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    pages: Vec<Option<Arc<Page>>>,
    len: u64,
    allocated: u64,
}

impl Image {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// How many bytes the pages take that hold something.
    pub(super) fn allocated_bytes(&self) -> u64 {
        self.allocated * PAGE_BYTES as u64
    }

    /// Cuts or extends; what is beyond the end is forgotten.
    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            let whole = len.div_ceil(PAGE_BYTES as u64) as usize;
            let forgotten = self.pages.drain(whole.min(self.pages.len())..);
            self.allocated -= forgotten.flatten().count() as u64;
            let rest = (len % PAGE_BYTES as u64) as usize;
            let last = whole.checked_sub(1).and_then(|at| self.pages.get_mut(at));
            if let Some(Some(page)) = last.filter(|_| rest > 0) {
                Arc::make_mut(page)[rest..].fill(0);
            }
        }
        self.len = len;
    }

    /// Reads bytes that lie before the end.
    pub(super) fn read(&self, offset: u64, out: &mut [u8]) {
        for span in spans(offset, out.len()) {
            let part = &mut out[span.from..span.from + span.len];
            match self.pages.get(span.page) {
                Some(Some(page)) => part.copy_from_slice(&page[span.at..span.at + span.len]),
                _ => part.fill(0),
            }
        }
    }

    /// Writes bytes that lie before the end.
    pub(super) fn write(&mut self, offset: u64, data: &[u8]) {
        for span in spans(offset, data.len()) {
            let part = &data[span.from..span.from + span.len];
            let page = self.page_mut(span.page);
            // A whole page is not copied from the one it replaces.
            match <&Page>::try_from(part) {
                Ok(whole) => *page = Arc::new(*whole),
                Err(_) => {
                    Arc::make_mut(page)[span.at..span.at + span.len].copy_from_slice(part);
                }
            }
        }
    }

    /// Puts a page in the place of one that lies before the end.
    pub(super) fn put_page(&mut self, page: usize, content: Arc<Page>) {
        if self.pages.len() <= page {
            self.pages.resize(page + 1, None);
        }
        let before = self.pages[page].replace(content);
        self.allocated += u64::from(before.is_none());
    }

    fn page_mut(&mut self, page: usize) -> &mut Arc<Page> {
        if self.pages.len() <= page {
            self.pages.resize(page + 1, None);
        }
        let slot = &mut self.pages[page];
        self.allocated += u64::from(slot.is_none());
        slot.get_or_insert_with(|| Arc::new([0; PAGE_BYTES]))
    }

    /// Takes one page over from another image.
    pub(super) fn share_page(&mut self, page: usize, from: &Self) {
        let theirs = from.pages.get(page).cloned().flatten();
        if self.pages.len() <= page {
            self.pages.resize(page + 1, None);
        }
        self.allocated += u64::from(theirs.is_some());
        self.allocated -= u64::from(self.pages[page].is_some());
        self.pages[page] = theirs;
    }

    pub(super) fn is_allocated(&self, page: usize) -> bool {
        self.pages.get(page).is_some_and(Option::is_some)
    }

    /// Where these bytes are, ascending; places that overlap are counted once.
    pub(super) fn find(&self, bytes: &[u8]) -> Vec<u64> {
        let mut found = Vec::new();
        let mut stretch = Vec::new();
        let mut begin = 0;
        // Stretches of pages that hold something: what was never written is zero and is not searched.
        for page in 0..=self.pages.len() {
            if let Some(Some(page)) = self.pages.get(page) {
                stretch.extend_from_slice(&page[..]);
                continue;
            }
            found.extend(places(&stretch, bytes).map(|at| (begin + at) as u64));
            stretch.clear();
            begin = (page + 1) * PAGE_BYTES;
        }
        found
    }

    /// The pages that hold something, ascending.
    pub(super) fn used_pages(&self) -> impl Iterator<Item = usize> {
        let pages = self.pages.iter().enumerate();
        pages.filter_map(|(at, page)| page.is_some().then_some(at))
    }
}

/// Where `bytes` are in `all`, one after the other.
fn places(all: &[u8], bytes: &[u8]) -> impl Iterator<Item = usize> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let (first, rest) = bytes.split_first()?;
        loop {
            let at = from + all.get(from..)?.iter().position(|byte| byte == first)?;
            if all[at + 1..].starts_with(rest) {
                from = at + bytes.len();
                return Some(at);
            }
            from = at + 1;
        }
    })
}

/// The part of a range of bytes that lies in one page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) page: usize,
    /// Where it begins in the page.
    pub(super) at: usize,
    /// Where it begins in the range.
    pub(super) from: usize,
    pub(super) len: usize,
}

/// The parts of a range of bytes, page by page.
pub(super) fn spans(offset: u64, len: usize) -> impl Iterator<Item = Span> {
    let mut from = 0;
    std::iter::from_fn(move || {
        if from == len {
            return None;
        }
        let place = offset + from as u64;
        let (page, at) = (
            (place / PAGE_BYTES as u64) as usize,
            (place % PAGE_BYTES as u64) as usize,
        );
        let span = Span {
            page,
            at,
            from,
            len: (PAGE_BYTES - at).min(len - from),
        };
        from += span.len;
        Some(span)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(image: &Image, offset: u64, len: usize) -> Vec<u8> {
        let mut out = vec![1; len];
        image.read(offset, &mut out);
        out
    }

    #[test]
    fn bytes_are_read_back_over_the_borders_of_pages() {
        let mut image = Image::default();
        image.set_len(20_000);
        let data: Vec<u8> = (0..9000).map(|n| (n % 251) as u8).collect();

        image.write(4000, &data);

        assert_eq!(bytes(&image, 4000, 9000), data);
        assert_eq!(bytes(&image, 3990, 10), [0; 10]);
        assert_eq!(image.allocated_bytes(), 4 * 4096);
    }

    #[test]
    fn what_lay_beyond_a_cut_is_zero_when_it_grows_again() {
        let mut image = Image::default();
        image.set_len(10_000);
        image.write(0, &[7; 10_000]);

        image.set_len(5000);
        image.set_len(10_000);

        assert_eq!(bytes(&image, 4990, 10), [7; 10]);
        assert_eq!(bytes(&image, 5000, 5000), [0; 5000]);
        assert_eq!(image.allocated_bytes(), 2 * 4096);
    }

    #[test]
    fn bytes_are_found_wherever_they_are_and_across_the_borders_of_pages() {
        let mut image = Image::default();
        image.set_len(60_000);
        image.write(4094, b"needle");
        image.write(40_000, b"needneedle and needle");

        assert_eq!(image.find(b"needle"), [4094, 40_004, 40_015]);
        assert_eq!(image.find(b"nettle"), [0; 0]);
        assert_eq!(image.find(b""), [0; 0]);
    }

    #[test]
    fn a_copy_does_not_change_with_its_original() {
        let mut image = Image::default();
        image.set_len(8192);
        image.write(0, &[1; 8192]);
        let copy = image.clone();

        image.write(100, &[2; 10]);
        image.write(4096, &[3; 4096]);

        assert_eq!(bytes(&copy, 0, 8192), [1; 8192]);
        assert_eq!(bytes(&image, 100, 10), [2; 10]);
    }
}
