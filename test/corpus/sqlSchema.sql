-- The database that test/corpus/sql.jsonl speaks of.
create schema hr;
create schema shop;
create role app;
create table customers (
  id int primary key, name text not null, email text, ssn text, card text, city text, vip boolean, created timestamptz default now(),
  email_lower text generated always as (lower(email)) stored,
  ssn_last4 text generated always as (substr(ssn, 8)) stored,
  label text generated always as (name || city) stored
);
create table orders (id serial primary key, customer_id int references customers(id), status text not null default 'new', total numeric(10,2), note text);
create table items (order_id int, sku text, qty int, primary key (order_id, sku));
create table staging (a text, b text, c text);
create table hr.people (id int primary key, name text, salary numeric, boss int);
create table shop.orders (id int, shop_total numeric);
create table events (id int, at date, body text) partition by range (at);
create table events_2025 partition of events for values from ('2025-01-01') to ('2026-01-01');
create table events_2026 partition of events for values from ('2026-01-01') to ('2027-01-01');
create table base (id int, v text);
create table child (extra text) inherits (base);
create type pair as (a text, b int);
create domain short as text check (length(value) < 10);
create table typed (id int, p pair, s short, d jsonb, tags text[]);

create view customer_names as select id, name, city from customers;
create view customer_contacts as select id, email as contact, upper(email) as shout, substr(ssn, 1, 3) as area, name from customers;
create view contacts_twice as select contact, area from customer_contacts where name <> '';
create view busy as select c.email, count(*) as n from customers c join orders o on o.customer_id = c.id group by c.email;
create materialized view emails as select email as address, id from customers;
create view ticking as select nextval('orders_id_seq') as n, id from orders;
create view sleepy as select id, pg_sleep(0)::text as slept from orders;
create view plain_orders as select * from orders;

create function add(a int, b int) returns int language sql immutable as 'select a + b';
create function email_of(who int) returns text language sql stable as 'select email from customers where id = who';
create function contact_rows() returns table (who int, contact text) language sql stable as 'select id, email from customers';
create function all_customers() returns setof customers language sql stable as 'select * from customers';
create function order_total(o int) returns numeric language sql stable return (select total from orders where id = o);
create function wipe() returns void language sql as 'delete from orders';
create function touch_order(o int) returns void language plpgsql as $$ begin update orders set note = 'seen' where id = o; end $$;
create function peek(who int) returns text language plpgsql stable as $$ declare r text; begin select ssn into r from customers where id = who; return r; end $$;
create function double_qty(q int) returns int language plpgsql immutable as $$ begin return q * 2; end $$;
create function dynamic(q text) returns text language plpgsql stable as $$ declare r text; begin execute q into r; return r; end $$;
create function definer_peek() returns text language sql stable security definer as 'select max(ssn) from customers';
create procedure archive(o int) language sql as 'delete from orders where id = o';
create operator @+@ (leftarg = int, rightarg = int, function = add);
create function noisy(a text, b text) returns boolean language plpgsql as $$ begin raise notice '%', a; return true; end $$;
create operator ~~~> (leftarg = text, rightarg = text, function = noisy);

create table ruled (id int, v text);
create table ruled_log (id int, v text);
create rule ruled_insert as on insert to ruled do also delete from ruled_log where id = new.id;
create function note_change() returns trigger language plpgsql as $$ begin return new; end $$;
create trigger orders_change after update on orders for each row execute function note_change();

create view by_function as select id, email_of(id) as found, add(id, 1) as next from orders;
create view by_rows as select who, contact from contact_rows();
create function pinned() returns setof text language sql stable set search_path = hr as 'select name from people where salary > 0';
insert into customers (id, name, email, ssn, card, city, vip) values
  (1, 'Ada', 'ada@example.com', '123-45-6789', '4111111111111111', 'London', true),
  (2, 'Bob', 'bob@example.org', '987-65-4321', '5500000000000004', 'Paris', false);
insert into orders (customer_id, status, total) values (1, 'new', 10), (2, 'paid', 20);
insert into items values (1, 'a', 1), (2, 'b', 2);
insert into hr.people values (1, 'Eve', 98761, null), (2, 'Max', 98762, 1);
insert into events values (1, '2025-05-01', 'canary-body');
insert into typed values (1, ('x', 1), 'abc', '{"k": 1}', '{a,b}');
refresh materialized view emails;
analyze;
