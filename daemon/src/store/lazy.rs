//! Tables that are opened when they are first needed: to open one, and to look at its root when the transaction
//! ends, costs more than to read a row, and most transactions touch few.

use std::cell::OnceCell;

use redb::{
    Key, MultimapTable, MultimapTableDefinition, ReadOnlyTable, ReadTransaction, Table,
    TableDefinition, TableError, Value, WriteTransaction,
};

/// A table, be it open already or not.
pub(super) trait Source {
    type Table;

    fn table(&self) -> Result<&Self::Table, TableError>;
}

impl<K: Key + 'static, V: Value + 'static> Source for ReadOnlyTable<K, V> {
    type Table = Self;

    fn table(&self) -> Result<&Self, TableError> {
        Ok(self)
    }
}

impl<K: Key + 'static, V: Value + 'static> Source for Table<'_, K, V> {
    type Table = Self;

    fn table(&self) -> Result<&Self, TableError> {
        Ok(self)
    }
}

/// Something that a transaction can open by its definition.
pub(super) trait Definition<'txn> {
    type Opened;

    fn open(self, tx: &'txn WriteTransaction) -> Result<Self::Opened, TableError>;
}

impl<'txn, K: Key + 'static, V: Value + 'static> Definition<'txn>
    for TableDefinition<'static, K, V>
{
    type Opened = Table<'txn, K, V>;

    fn open(self, tx: &'txn WriteTransaction) -> Result<Self::Opened, TableError> {
        tx.open_table(self)
    }
}

impl<'txn, K: Key + 'static, V: Key + 'static> Definition<'txn>
    for MultimapTableDefinition<'static, K, V>
{
    type Opened = MultimapTable<'txn, K, V>;

    fn open(self, tx: &'txn WriteTransaction) -> Result<Self::Opened, TableError> {
        tx.open_multimap_table(self)
    }
}

/// A table of a write transaction, opened or not.
pub(super) struct Lazy<'txn, D: Definition<'txn>> {
    tx: &'txn WriteTransaction,
    definition: D,
    table: OnceCell<D::Opened>,
}

impl<'txn, D: Definition<'txn> + Copy> Lazy<'txn, D> {
    pub(super) fn new(tx: &'txn WriteTransaction, definition: D) -> Self {
        let table = OnceCell::new();
        Self {
            tx,
            definition,
            table,
        }
    }

    pub(super) fn get(&self) -> Result<&D::Opened, TableError> {
        if let Some(table) = self.table.get() {
            return Ok(table);
        }
        let opened = self.definition.open(self.tx)?;
        Ok(self.table.get_or_init(|| opened))
    }

    pub(super) fn get_mut(&mut self) -> Result<&mut D::Opened, TableError> {
        self.get()?;
        Ok(self
            .table
            .get_mut()
            .expect("invariant: opened in the line above"))
    }
}

impl<'txn, D: Definition<'txn> + Copy> Source for Lazy<'txn, D> {
    type Table = D::Opened;

    fn table(&self) -> Result<&D::Opened, TableError> {
        self.get()
    }
}

/// A table of a read transaction, opened or not.
pub(super) struct LazyRead<'txn, K: Key + 'static, V: Value + 'static> {
    tx: &'txn ReadTransaction,
    definition: TableDefinition<'static, K, V>,
    table: OnceCell<ReadOnlyTable<K, V>>,
}

impl<'txn, K: Key + 'static, V: Value + 'static> LazyRead<'txn, K, V> {
    pub(super) fn new(
        tx: &'txn ReadTransaction,
        definition: TableDefinition<'static, K, V>,
    ) -> Self {
        let table = OnceCell::new();
        Self {
            tx,
            definition,
            table,
        }
    }
}

impl<K: Key + 'static, V: Value + 'static> Source for LazyRead<'_, K, V> {
    type Table = ReadOnlyTable<K, V>;

    fn table(&self) -> Result<&ReadOnlyTable<K, V>, TableError> {
        if let Some(table) = self.table.get() {
            return Ok(table);
        }
        let opened = self.tx.open_table(self.definition)?;
        Ok(self.table.get_or_init(|| opened))
    }
}
